package front

import (
	"net/http/httptest"
	"testing"
)

func TestARequestIsReadAsTheApiServerReadsIt(t *testing.T) {
	for _, sample := range []struct{ method, path, verb, resource, name string }{
		{"GET", "/api/v1/pods", "list", "pods", ""},
		{"GET", "/api/v1/pods?watch=true&resourceVersion=5", "watch", "pods", ""},
		{"GET", "/api/v1/pods?watch=0", "list", "pods", ""},
		{"GET", "/api/v1/watch/pods", "watch", "pods", ""},
		{"GET", "/api/v1/namespaces/shop", "get", "namespaces", "shop"},
		{"PUT", "/api/v1/namespaces/shop/finalize", "update", "namespaces/finalize", "shop"},
		{"GET", "/api/v1/namespaces/shop/pods", "list", "pods", ""},
		{"DELETE", "/api/v1/namespaces/shop/pods", "deletecollection", "pods", ""},
		{"DELETE", "/api/v1/namespaces/shop/pods/web", "delete", "pods", "web"},
		{"POST", "/api/v1/namespaces/shop/serviceaccounts/default/token", "create", "serviceaccounts/token", "default"},
		{"PATCH", "/apis/postern.dev/v1alpha1/nodereports/n1/status", "patch", "nodereports.postern.dev/status", "n1"},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "update", "leases.coordination.k8s.io", "b"},
		{"GET", "/apis/postern.dev/v1alpha1", "get", "/apis", ""},
		{"GET", "/readyz", "get", "/readyz", ""},
	} {
		got := describe(httptest.NewRequest(sample.method, sample.path, nil))
		want := request{verb: sample.verb, resource: sample.resource, name: sample.name}
		if got != want {
			t.Errorf("%s %s: %+v, want %+v", sample.method, sample.path, got, want)
		}
	}
}

func TestAConflictAnswersWritesAndAGoneVersionAnswersListsAndWatches(t *testing.T) {
	list := request{verb: "list", resource: "pods"}
	write := request{verb: "update", resource: "pods", name: "web"}
	discovery := request{verb: "get", resource: "/apis"}
	for _, sample := range []struct {
		fault Fault
		asked request
		fits  bool
	}{
		{Fault{Code: 409}, list, false},
		{Fault{Code: 409}, write, true},
		{Fault{Code: 410}, list, true},
		{Fault{Code: 410}, write, false},
		{Fault{Code: 500}, list, true},
		{Fault{Code: 500}, discovery, false},
		{Fault{Code: 500, Agent: "postern-"}, list, false},
		{Fault{Code: 500, Agent: "kube"}, list, true},
		{Fault{Code: 500, Verb: "update"}, list, false},
		{Fault{Code: 500, Resource: "pods"}, list, true},
	} {
		if got := sample.fault.fits(sample.asked, "kubectl/v1"); got != sample.fits {
			t.Errorf("%+v of %+v: %v", sample.fault, sample.asked, got)
		}
	}
}

func TestAFaultOutsideItsBoundsIsRefused(t *testing.T) {
	for _, fault := range []Fault{{Code: 404, Rate: 1}, {Code: 500}, {Code: 500, Rate: 1.5}, {Code: 500, Rate: -1}} {
		if fault.check() == nil {
			t.Errorf("%+v was taken", fault)
		}
	}
	if err := (Fault{Code: 429, Rate: 0.5}).check(); err != nil {
		t.Error(err)
	}
}
