package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
)

// Options says where front listens and what stands behind it.
type Options struct {
	// Listen has the addresses and ports for clients.
	Listen []string
	// Upstream is the API server's URL.
	Upstream string
	// Certificate and Key are what front serves with: the API server's own.
	Certificate, Key string
	// Authority is a file of certificates that the API server's must lead to.
	Authority string
	// Control is the unix socket on which front is told what to do.
	Control string
	// Admin is the unix socket that leads to the API server with the token in TokenFile.
	Admin, TokenFile string
}

// Front is the proxy with everything that it can be told.
type Front struct {
	options Options
	proxy   *httputil.ReverseProxy
	direct  *httputil.ReverseProxy
	faults  faults
	watches watches
	counts  *counts

	mutex  sync.Mutex
	server *http.Server
}

// New makes a front that does not listen yet.
func New(options Options) (*Front, error) {
	upstream, err := url.Parse(options.Upstream)
	if err != nil {
		return nil, fmt.Errorf("read the API server's URL: %w", err)
	}
	authority, err := os.ReadFile(options.Authority)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", options.Authority)
	}
	token, err := os.ReadFile(options.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	front := &Front{options: options, counts: newCounts()}
	front.proxy = newProxy(upstream, roots, "", func(http.ResponseWriter, *http.Request, error) {
		// A client whose API server has died sees its connection break, not the answer of a gateway.
		panic(http.ErrAbortHandler)
	})
	direct := strings.TrimSpace(string(token))
	front.direct = newProxy(upstream, roots, direct, func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, "the API server does not answer: "+err.Error(), http.StatusBadGateway)
	})
	return front, nil
}

// newProxy hands requests on to the API server, with this token in place of the client's unless it is empty.
func newProxy(
	upstream *url.URL, roots *x509.CertPool, token string, failed func(http.ResponseWriter, *http.Request, error),
) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(upstream)
			request.SetXForwarded()
			if token != "" {
				request.Out.Header.Set("Authorization", "Bearer "+token)
			}
		},
		Transport: &http.Transport{
			ForceAttemptHTTP2:   true,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			// The client's Accept-Encoding is its own matter: what the API server sends is what the client gets.
			DisableCompression: true,
		},
		// Events of a watch must not wait for a full buffer.
		FlushInterval: -1,
		ErrorHandler:  failed,
		ErrorLog:      log.New(os.Stderr, "front: ", log.LstdFlags|log.LUTC),
	}
}

// Run serves until the context ends.
func (f *Front) Run(ctx context.Context) error {
	if err := f.Open(); err != nil {
		return err
	}
	defer f.Close()
	failed := make(chan error, 2)
	for socket, handler := range map[string]http.Handler{
		f.options.Control: f.controls(),
		f.options.Admin:   f.direct,
	} {
		listener, err := listenUnix(socket)
		if err != nil {
			return err
		}
		defer listener.Close()
		go func() { failed <- http.Serve(listener, handler) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve a socket: %w", err)
	case <-ctx.Done():
		return nil
	}
}

// Open listens for clients. It does nothing when it does already.
func (f *Front) Open() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.server != nil {
		return nil
	}
	server := &http.Server{Handler: f, ErrorLog: log.New(os.Stderr, "front: ", log.LstdFlags|log.LUTC)}
	var listeners []net.Listener
	for _, address := range f.options.Listen {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		listeners = append(listeners, listener)
	}
	for _, listener := range listeners {
		go func() {
			err := server.ServeTLS(listener, f.options.Certificate, f.options.Key)
			if !errors.Is(err, http.ErrServerClosed) {
				fmt.Fprintln(os.Stderr, "front: serve clients:", err)
				os.Exit(1)
			}
		}()
	}
	f.server = server
	return nil
}

// Close ends every connection of a client; new ones are refused until Open.
func (f *Front) Close() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.server != nil {
		f.server.Close()
		f.server = nil
	}
}

// listenUnix makes a socket that root alone may use, also where a killed process has left one.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove an old socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("protect %s: %w", path, err)
	}
	return listener, nil
}
