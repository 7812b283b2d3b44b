package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"cutover/engine/wire"
)

// authority signs certificates for the tests of TLS.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key, a.pem = a.sign("ca", nil)
	a.write("ca.pem", a.pem)
	return a
}

func (a *authority) sign(name string, ip net.IP) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: ip == nil && name == "ca", BasicConstraintsValid: true,
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func (a *authority) write(name string, content []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// pair writes a certificate and its key and gives their paths.
func (a *authority) pair(name string, ip net.IP) (string, string) {
	_, key, certificate := a.sign(name, ip)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", certificate), a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// serve starts a fake cluster with a certificate for this address; with clients it asks for theirs.
func (a *authority) serve(ip net.IP, clients bool) wire.Connection {
	a.t.Helper()
	certificate, err := tls.LoadX509KeyPair(a.pair("broker", ip))
	if err != nil {
		a.t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if clients {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AddCert(a.cert)
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(config))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(fake.Close)
	return wire.Connection{BootstrapServers: fake.ListenAddrs(), SecurityProtocol: "ssl", TLS: &wire.TLS{CAFile: filepath.Join(a.dir, "ca.pem")}}
}

func reached(t *testing.T, to wire.Connection, want string) {
	t.Helper()
	began := time.Now()
	_, err := Reach(t.Context(), to, "test")
	var fault *wire.Fault
	switch {
	case want == "" && err != nil:
		t.Errorf("not reached: %v", err)
	case want != "" && (!errors.As(err, &fault) || fault.Name != want):
		t.Errorf("%v, want %s", err, want)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

var loopback = net.IPv4(127, 0, 0, 1)

func TestACertificateOfTheNamedAuthorityIsAccepted(t *testing.T) {
	reached(t, newAuthority(t).serve(loopback, false), "")
}

func TestACertificateOfAnotherAuthorityIsRefusedAtOnce(t *testing.T) {
	to := newAuthority(t).serve(loopback, false)
	to.TLS.CAFile = filepath.Join(newAuthority(t).dir, "ca.pem")
	reached(t, to, "certificate_refused")
}

func TestWithoutAnAuthorityTheSystemsAreAskedAndRefuse(t *testing.T) {
	to := newAuthority(t).serve(loopback, false)
	to.TLS = nil
	reached(t, to, "certificate_refused")
}

func TestACertificateForAnotherNameIsRefused(t *testing.T) {
	reached(t, newAuthority(t).serve(net.IPv4(10, 1, 2, 3), false), "certificate_refused")
}

func TestAClientCertificateIsShownWhereTheBrokerAsksForOne(t *testing.T) {
	a := newAuthority(t)
	to := a.serve(loopback, true)
	reached(t, to, "certificate_refused")
	to.TLS.CertificateFile, to.TLS.KeyFile = a.pair("client", nil)
	reached(t, to, "")
}

// A wrong password is tried on a real broker (tests/integration): the fake one only hangs up.
func TestAPasswordIsReadFromItsReference(t *testing.T) {
	t.Setenv("CUTOVER_TEST_RIGHT", "right-word")
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "user", "right-word"),
		kfake.Superuser("SCRAM-SHA-512", "user", "right-word"), kfake.Superuser("PLAIN", "user", "right-word"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		to := wire.Connection{BootstrapServers: fake.ListenAddrs(), SecurityProtocol: "sasl_plaintext",
			SASL: &wire.SASL{Mechanism: mechanism, Username: "user", Password: "env:CUTOVER_TEST_RIGHT"}}
		reached(t, to, "")
		to.SASL.Password = "env:CUTOVER_TEST_NOT_SET"
		reached(t, to, "bad_configuration")
	}
}

func TestNobodyThereIsUnreachableWithinTenSeconds(t *testing.T) {
	t.Parallel()
	began := time.Now()
	_, err := Reach(t.Context(), wire.Connection{BootstrapServers: []string{"127.0.0.1:1"}}, "test")
	var fault *wire.Fault
	if !errors.As(err, &fault) || fault.Name != "unreachable" || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAStopEndsTheFirstContact(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	_, err := Reach(ctx, wire.Connection{BootstrapServers: []string{"127.0.0.1:1"}}, "test")
	if err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for name, to := range map[string]wire.Connection{
		"protocol":        {SecurityProtocol: "telepathy"},
		"no mechanism":    {SecurityProtocol: "sasl_plaintext"},
		"mechanism":       {SecurityProtocol: "sasl_plaintext", SASL: &wire.SASL{Mechanism: "GSSAPI"}},
		"no CA":           {SecurityProtocol: "ssl", TLS: &wire.TLS{CAFile: "/no/such/file"}},
		"no certificate":  {SecurityProtocol: "ssl", TLS: &wire.TLS{CertificateFile: "/no/such/file"}},
		"CA is no PEM":    {SecurityProtocol: "ssl", TLS: &wire.TLS{CAFile: os.Args[0]}},
		"key is none":     {SecurityProtocol: "ssl", TLS: &wire.TLS{CertificateFile: os.Args[0], KeyFile: os.Args[0]}},
		"key without PEM": {SecurityProtocol: "ssl", TLS: &wire.TLS{CertificateFile: os.Args[0], KeyFile: os.Args[0], KeyPassword: "file:/dev/null"}},
	} {
		to.BootstrapServers = []string{"127.0.0.1:1"}
		var fault *wire.Fault
		if _, err := Client(to, "test"); !errors.As(err, &fault) || fault.Name != "bad_configuration" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMissingPermissionIsNamed(t *testing.T) {
	err := Needs(fmt.Errorf("x: %w", kerr.TopicAuthorizationFailed), "READ", "topic", "orders")
	var fault *wire.Fault
	if !errors.As(err, &fault) || fault.Name != "not_authorized" || fault.Fields["operation"] != "READ" || fault.Fields["name"] != "orders" {
		t.Errorf("%v", err)
	}
	if other := errors.New("x"); Needs(other, "READ", "topic", "t") != other || Needs(nil, "READ", "topic", "t") != nil {
		t.Error("another error was changed")
	}
}

func TestThePauseBetweenTriesGrowsToAQuarterSecond(t *testing.T) {
	before := time.Duration(0)
	for tries := range 20 {
		if now := backoff(tries + 1); now < before || now > 250*time.Millisecond {
			t.Errorf("try %d waits %v after %v", tries+1, now, before)
		} else {
			before = now
		}
	}
	if before < 200*time.Millisecond {
		t.Errorf("the longest is %v", before)
	}
}
