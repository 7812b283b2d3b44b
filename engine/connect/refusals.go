package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"cutover/engine/wire"
)

// Unreachable names why a cluster did not answer: credentials, permission, certificates, or nobody there.
func Unreachable(err error) error {
	var fault *wire.Fault
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return wire.Faultf("authentication_failed", "the cluster refused the credentials: %v", err)
	case denied(err):
		return wire.Faultf("not_authorized", "the cluster refused an operation: %v", err)
	case certificate(err):
		return wire.Faultf("certificate_refused", "a certificate was not accepted: %v", err)
	}
	return wire.Faultf("unreachable", "the cluster did not answer: %v", err)
}

// Needs names the permission behind a refusal, such as "READ on topic orders"; any other error stays as it is.
func Needs(err error, operation, kind, name string) error {
	if err == nil || !denied(err) {
		return err
	}
	return wire.Faultf("not_authorized", "the cluster refused %s on %s %s: %v", operation, kind, name, err).
		With(map[string]any{"operation": operation, "resource": kind, "name": name})
}

func denied(err error) bool {
	for _, one := range []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed,
	} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// certificate tells a refusal by either side: of the broker's by us, or of ours by the broker.
func certificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var alert tls.AlertError
	if errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname) {
		return true
	}
	return errors.As(err, &alert) && certificateAlerts[uint8(alert)]
}

// Alerts of RFC 8446 that speak of a certificate: bad, unsupported, revoked, expired, unknown, unknown CA, required.
var certificateAlerts = map[uint8]bool{42: true, 43: true, 44: true, 45: true, 46: true, 48: true, 116: true}

// About says what was asked when an error came.
func About(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
