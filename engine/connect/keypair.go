package connect

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"

	"cutover/engine/wire"
)

// keyPair loads a client certificate; an encrypted key must be in the legacy PEM form (RFC 1423).
func keyPair(from *wire.TLS) (tls.Certificate, error) {
	certificate, err := os.ReadFile(from.CertificateFile)
	if err != nil {
		return tls.Certificate{}, wire.Faultf("bad_configuration", "the certificate cannot be read: %v", err)
	}
	key, err := os.ReadFile(from.KeyFile)
	if err != nil {
		return tls.Certificate{}, wire.Faultf("bad_configuration", "the key cannot be read: %v", err)
	}
	if from.KeyPassword != "" {
		if key, err = decrypt(key, from.KeyPassword); err != nil {
			return tls.Certificate{}, err
		}
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, wire.Faultf("bad_configuration", "the certificate and key do not fit: %v", err)
	}
	return pair, nil
}

func decrypt(key []byte, password wire.Secret) ([]byte, error) {
	word, err := password.Resolve()
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, wire.Faultf("bad_configuration", "the key file holds no PEM block")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, wire.Faultf("bad_configuration", "the key is encrypted as PKCS#8, which is not supported: give it unencrypted with mode 0600")
	}
	//lint:ignore SA1019 the only encrypted PEM form the standard library reads
	plain, err := x509.DecryptPEMBlock(block, []byte(word))
	if err != nil {
		return nil, wire.Faultf("bad_configuration", "the key cannot be decrypted: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: plain}), nil
}
