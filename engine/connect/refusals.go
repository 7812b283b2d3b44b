package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"cutover/engine/wire"
)

// Unreachable names why a cluster did not answer: credentials, permission, certificates, or nobody there.
func Unreachable(err error) error {
	var fault *wire.Fault
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState),
		strings.Contains(err.Error(), "oauth response"): // a refused token; franz-go has no type for it
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
	if errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname) {
		return true
	}
	var told *net.OpError // an alert of the broker; its type is crypto/tls's own
	return errors.As(err, &told) && told.Op == "remote error" && strings.Contains(told.Err.Error(), "certificate")
}
