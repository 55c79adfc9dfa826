package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity of the certificates: a lab lives for hours.
const validity = 365 * 24 * time.Hour

// WriteKeys makes what an API server is started with: `ca.crt` (whose key is thrown away), `serving.crt` and
// `serving.key` for these names and addresses, `sa.key` and `sa.pub` for tokens of service accounts.
func WriteKeys(dir string, names []string) error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	authority := template("lab authority")
	authority.IsCA = true
	authority.BasicConstraintsValid = true
	authority.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	servingKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serving := template("kube-apiserver")
	serving.KeyUsage = x509.KeyUsageDigitalSignature
	serving.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			serving.IPAddresses = append(serving.IPAddresses, address)
		} else {
			serving.DNSNames = append(serving.DNSNames, name)
		}
	}
	servingDER, err := x509.CreateCertificate(rand.Reader, serving, authority, servingKey.Public(), authorityKey)
	if err != nil {
		return fmt.Errorf("make the serving certificate: %w", err)
	}
	tokenKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	tokenPublic, err := x509.MarshalPKIXPublicKey(tokenKey.Public())
	if err != nil {
		return fmt.Errorf("encode a key: %w", err)
	}
	for name, block := range map[string]pem.Block{
		"ca.crt":      {Type: "CERTIFICATE", Bytes: authorityDER},
		"serving.crt": {Type: "CERTIFICATE", Bytes: servingDER},
		"sa.pub":      {Type: "PUBLIC KEY", Bytes: tokenPublic},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o644); err != nil {
			return fmt.Errorf("write a certificate: %w", err)
		}
	}
	for name, key := range map[string]*ecdsa.PrivateKey{"serving.key": servingKey, "sa.key": tokenKey} {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return fmt.Errorf("encode a key: %w", err)
		}
		block := pem.Block{Type: "EC PRIVATE KEY", Bytes: der}
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600); err != nil {
			return fmt.Errorf("write a key: %w", err)
		}
	}
	return nil
}

func template(name string) *x509.Certificate {
	// 63 random bits: the serial must be positive and unlike every other one (RFC 5280, 4.1.2.2).
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		// A clock that was set back must not make a new certificate one of the future.
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(validity),
	}
}
