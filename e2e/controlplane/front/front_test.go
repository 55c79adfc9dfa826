package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stand is a front before an API server of the test's own.
type stand struct {
	t       *testing.T
	front   *Front
	client  *http.Client
	control *http.Client
	admin   *http.Client
	url     string
	server  *http.Server
}

// freePort is one that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func start(t *testing.T, handler http.HandlerFunc) *stand {
	dir := t.TempDir()
	if err := WriteKeys(dir, []string{"127.0.0.1", "kubernetes.default.svc"}); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("token"), []byte("admins-own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream, listen := freePort(t), freePort(t)
	server := &http.Server{Addr: upstream, Handler: handler}
	go server.ListenAndServeTLS(in("serving.crt"), in("serving.key"))
	front, err := New(Options{
		Listen: []string{listen}, Upstream: "https://" + upstream, Certificate: in("serving.crt"),
		Key: in("serving.key"), Authority: in("ca.crt"), Control: in("control"), Admin: in("admin"), TokenFile: in("token"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- front.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.Close()
	})
	authority, err := os.ReadFile(in("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	dial := func(path string) *http.Client {
		return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
	}
	s := &stand{
		t: t, front: front, url: "https://" + listen, server: server, control: dial(in("control")), admin: dial(in("admin")),
		client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}
	s.until("front and its API server listen", func() bool {
		response, err := s.client.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	s.tell("DELETE", "/requests", "")
	return s
}

func (s *stand) until(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// tell uses the control socket.
func (s *stand) tell(method, path, body string) string {
	s.t.Helper()
	request, _ := http.NewRequest(method, "http://front"+path, strings.NewReader(body))
	response, err := s.control.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(text)))
}

func (s *stand) counts() Counts {
	s.t.Helper()
	var counts Counts
	_, text, _ := strings.Cut(s.tell("GET", "/requests", ""), " ")
	if err := json.Unmarshal([]byte(text), &counts); err != nil {
		s.t.Fatal(err)
	}
	return counts
}

// events serves one event after another on watches, and says who asked on everything else.
func events(w http.ResponseWriter, r *http.Request) {
	if describe(r).verb != "watch" {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Header.Get("Authorization"))
		return
	}
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(w, "event %d\n", i); err != nil {
			return
		}
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestAClientKeepsItsTokenAndTheAdminSocketHasItsOwn(t *testing.T) {
	s := start(t, events)
	for _, sample := range []struct {
		client *http.Client
		url    string
		want   string
	}{{s.client, s.url, "Bearer mine"}, {s.admin, "http://api", "Bearer admins-own"}} {
		request, _ := http.NewRequest("GET", sample.url+"/api/v1/pods", nil)
		request.Header.Set("Authorization", "Bearer mine")
		response, err := sample.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		if string(text) != sample.want {
			t.Errorf("%q, want %q", text, sample.want)
		}
	}
	if counts := s.counts(); len(counts.Requests) != 1 {
		t.Errorf("the admin socket was counted: %+v", counts)
	}
}

func TestAnswersAreCountedByAgentVerbAndResourceWithTheirBytes(t *testing.T) {
	s := start(t, events)
	for range 3 {
		request, _ := http.NewRequest("POST", s.url+"/api/v1/namespaces/shop/pods", strings.NewReader("12345"))
		request.Header.Set("User-Agent", "postern-operator/0.1.0 (linux)")
		request.Header.Set("Authorization", "four")
		response, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	s.until("the requests are over", func() bool { return s.counts().Requests[0].Open == 0 })
	got, _ := json.Marshal(s.counts().Requests)
	want := `[{"userAgent":"postern-operator/0.1.0","verb":"create","resource":"pods","requests":3,"open":0,"faults":0,` +
		`"delayed":0,"codes":{"200":3},"requestBytes":15,"responseBytes":12}]`
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAFaultAnswersInTheApiServersWords(t *testing.T) {
	s := start(t, events)
	for _, sample := range []struct {
		fault, path, retry, body string
		code                     int
	}{
		{`{"code":429,"rate":1}`, "/api/v1/pods/web", "1", `"reason":"TooManyRequests"`, 429},
		{`{"code":500,"rate":1}`, "/api/v1/pods", "", `"reason":"InternalError"`, 500},
		{`{"code":410,"rate":1}`, "/api/v1/pods", "", `"reason":"Expired"`, 410},
		{`{"code":410,"rate":1}`, "/api/v1/pods?watch=1", "", `{"object":{"kind":"Status","apiVersion":"v1"`, 200},
	} {
		if said := s.tell("PUT", "/fault", sample.fault); !strings.HasPrefix(said, "200") {
			t.Fatal(said)
		}
		response, err := s.client.Get(s.url + sample.path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		if response.StatusCode != sample.code || !strings.Contains(string(text), sample.body) ||
			response.Header.Get("Retry-After") != sample.retry {
			t.Errorf("%s: %d %s", sample.fault, response.StatusCode, text)
		}
	}
	s.tell("DELETE", "/fault", "")
	if response, err := s.client.Get(s.url + "/api/v1/pods"); err != nil || response.StatusCode != 200 {
		t.Errorf("%v %v after the fault was taken back", response, err)
	}
	if said := s.tell("PUT", "/fault", `{"code":404,"rate":1}`); !strings.HasPrefix(said, "400") {
		t.Error(said)
	}
}

func TestAWatchStreamsAtOnceAndIsCutByAddress(t *testing.T) {
	s := start(t, events)
	response, err := s.client.Get(s.url + "/api/v1/pods?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	if response.ProtoMajor != 2 {
		t.Errorf("HTTP/%d, want 2", response.ProtoMajor)
	}
	lines := bufio.NewScanner(response.Body)
	for range 3 {
		if !lines.Scan() {
			t.Fatal("no event although the API server sends all the time")
		}
	}
	if said := s.tell("POST", "/watches/cut", `{"addresses":["192.0.2.1"]}`); said != `200 {"cut":0}` {
		t.Error(said)
	}
	if said := s.tell("POST", "/watches/cut", `{"addresses":["127.0.0.1"]}`); said != `200 {"cut":1}` {
		t.Error(said)
	}
	for deadline := time.Now().Add(10 * time.Second); lines.Scan(); {
		if time.Now().After(deadline) {
			t.Fatal("events still come, want the stream broken")
		}
	}
	if lines.Err() == nil {
		t.Error("the stream ended in good order, want it broken")
	}
	s.until("the watch is forgotten", func() bool { return s.tell("GET", "/watches", "") == "200 []" })
}

func TestAWatchIsCutByTheBeginningOfItsUserAgent(t *testing.T) {
	s := start(t, events)
	watch := func(agent string) *bufio.Scanner {
		request, _ := http.NewRequest("GET", s.url+"/api/v1/pods?watch=true", nil)
		request.Header.Set("User-Agent", agent)
		response, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(response.Body)
	}
	operator, agent := watch("postern-operator/0.1.0"), watch("postern-agent/0.1.0")
	if said := s.tell("POST", "/watches/cut", `{}`); !strings.HasPrefix(said, "400") {
		t.Error(said)
	}
	if said := s.tell("POST", "/watches/cut", `{"addresses":["192.0.2.1"],"userAgent":"postern"}`); said != `200 {"cut":0}` {
		t.Error(said)
	}
	if said := s.tell("POST", "/watches/cut", `{"userAgent":"postern-operator"}`); said != `200 {"cut":1}` {
		t.Error(said)
	}
	for deadline := time.Now().Add(10 * time.Second); operator.Scan(); {
		if time.Now().After(deadline) {
			t.Fatal("events still come, want the stream broken")
		}
	}
	for range 3 {
		if !agent.Scan() {
			t.Fatal("the other client's watch was broken too")
		}
	}
}

func TestADelayHoldsEventsBackAndLosesNone(t *testing.T) {
	s := start(t, events)
	s.tell("PUT", "/watches/delay", `{"milliseconds":150}`)
	begun := time.Now()
	response, err := s.client.Get(s.url + "/api/v1/pods?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for i := range 2 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("event ", i) {
			t.Fatalf("%q, want event %d", lines.Text(), i)
		}
	}
	if took := time.Since(begun); took < 150*time.Millisecond {
		t.Errorf("after %s already", took)
	}
	if row := s.counts().Requests[0]; row.Delayed < 2 {
		t.Errorf("two events came late: %+v", row)
	}
}

func TestAClosedFrontRefusesAndAnOpenedOneServesAgain(t *testing.T) {
	s := start(t, events)
	s.tell("POST", "/listen", `{"open":false}`)
	if response, err := s.client.Get(s.url + "/api/v1/pods"); err == nil {
		t.Errorf("%v from a closed front", response.Status)
	}
	s.tell("POST", "/listen", `{"open":true}`)
	if _, err := s.client.Get(s.url + "/api/v1/pods"); err != nil {
		t.Error(err)
	}
}

func TestAClientOfADeadApiServerSeesItsConnectionBreak(t *testing.T) {
	s := start(t, events)
	s.server.Close()
	if response, err := s.client.Get(s.url + "/api/v1/pods"); err == nil {
		t.Errorf("%v in the place of a dead API server", response.Status)
	}
	response, err := s.admin.Get("http://api/api/v1/pods")
	if err != nil || response.StatusCode != http.StatusBadGateway {
		t.Errorf("%v %v: the lab itself is told in words", response, err)
	}
}
