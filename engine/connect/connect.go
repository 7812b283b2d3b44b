// Package connect opens franz-go clients from the connection of a configuration: TLS verified, secrets by reference.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"cutover/engine/wire"
)

// Dialing a broker takes at most this long.
const dialTimeout = 5 * time.Second

// Client opens a client with the settings that every part of the engine wants, plus more.
func Client(to wire.Connection, clientID string, more ...kgo.Opt) (*kgo.Client, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(to.BootstrapServers...),
		kgo.ClientID(clientID),
		kgo.MetadataMinAge(20 * time.Millisecond), // the default of 5 s stalls every retry for as long
		kgo.RetryBackoffFn(backoff),
		kgo.RetryTimeout(30 * time.Second),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // a position that is gone is an error, never a jump
	}
	secured, err := security(to)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(append(options, secured...), more...)...)
	if err != nil {
		return nil, wire.Faultf("bad_configuration", "the connection cannot be used: %v", err)
	}
	return client, nil
}

// backoff doubles from 1 ms to 250 ms.
func backoff(tries int) time.Duration {
	return time.Millisecond << min(max(tries-1, 0), 8) * 250 / 256
}

func security(to wire.Connection) ([]kgo.Opt, error) {
	var options []kgo.Opt
	dialer := &net.Dialer{Timeout: dialTimeout}
	switch to.SecurityProtocol {
	case "", "plaintext", "sasl_plaintext":
		options = append(options, kgo.Dialer(dialer.DialContext))
	case "ssl", "sasl_ssl":
		config, err := tlsConfig(to.TLS)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	default:
		return nil, wire.Faultf("bad_configuration", "security_protocol %q is not known", to.SecurityProtocol)
	}
	if to.SecurityProtocol == "sasl_plaintext" || to.SecurityProtocol == "sasl_ssl" {
		mechanism, err := saslMechanism(to.SASL)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

func tlsConfig(from *wire.TLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if from == nil {
		return config, nil
	}
	config.ServerName = from.ServerName
	if from.CAFile != "" {
		pem, err := os.ReadFile(from.CAFile)
		if err != nil {
			return nil, wire.Faultf("bad_configuration", "the CA file cannot be read: %v", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, wire.Faultf("bad_configuration", "the CA file %s holds no certificate", from.CAFile)
		}
	}
	if from.CertificateFile != "" {
		pair, err := keyPair(from)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func saslMechanism(from *wire.SASL) (sasl.Mechanism, error) {
	if from == nil {
		return nil, wire.Faultf("bad_configuration", "the security protocol asks for SASL and no mechanism is named")
	}
	switch from.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := from.Password.Resolve()
			return plain.Auth{User: from.Username, Pass: password}, err
		}), nil
	case "SCRAM-SHA-256", "SCRAM-SHA-512":
		login := func(context.Context) (scram.Auth, error) {
			password, err := from.Password.Resolve()
			return scram.Auth{User: from.Username, Pass: password}, err
		}
		if from.Mechanism == "SCRAM-SHA-256" {
			return scram.Sha256(login), nil
		}
		return scram.Sha512(login), nil
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := from.Token.Resolve()
			return oauth.Auth{Token: token}, err
		}), nil
	}
	return nil, wire.Faultf("bad_configuration", "the SASL mechanism %q is not known", from.Mechanism)
}
