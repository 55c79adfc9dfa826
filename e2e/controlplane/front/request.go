package front

import (
	"net/http"
	"strings"
)

// request is what a client asks for, in the API server's words.
type request struct {
	// verb is get, list, watch, create, update, patch, delete or deletecollection; the HTTP method in small letters
	// for what is no resource.
	verb string
	// resource is `pods`, `pods/status`, `leases.coordination.k8s.io`; `/readyz` for what is no resource.
	resource string
	// name is the object's, or empty for a collection.
	name string
}

// isResource tells objects from discovery, health and the like.
func (r request) isResource() bool { return !strings.HasPrefix(r.resource, "/") }

// describe reads method and path as the API server does (k8s.io/apiserver/pkg/endpoints/request, RequestInfo).
func describe(r *http.Request) request {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group, rest := "", []string(nil)
	switch {
	case parts[0] == "api" && len(parts) >= 3:
		rest = parts[2:]
	case parts[0] == "apis" && len(parts) >= 4:
		group, rest = parts[1], parts[3:]
	default:
		return request{verb: strings.ToLower(r.Method), resource: "/" + parts[0]}
	}
	watching := isTrue(r.URL.Query().Get("watch"))
	if rest[0] == "watch" && len(rest) > 1 {
		rest, watching = rest[1:], true
	}
	// `namespaces/shop/pods` is about pods; `namespaces/shop` and `namespaces/shop/finalize` are about a namespace.
	if rest[0] == "namespaces" && len(rest) >= 3 && rest[2] != "finalize" && rest[2] != "status" {
		rest = rest[2:]
	}
	asked := request{resource: rest[0]}
	if group != "" {
		asked.resource += "." + group
	}
	if len(rest) > 1 {
		asked.name = rest[1]
	}
	if len(rest) > 2 {
		asked.resource += "/" + rest[2]
	}
	asked.verb = verbOf(r.Method, asked.name != "", watching)
	return asked
}

func verbOf(method string, named, watching bool) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		switch {
		case watching:
			return "watch"
		case named:
			return "get"
		default:
			return "list"
		}
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		if named {
			return "delete"
		}
		return "deletecollection"
	default:
		return strings.ToLower(method)
	}
}

// isTrue reads a query parameter as the API server does: present and neither 0 nor false.
func isTrue(value string) bool {
	return value != "" && value != "0" && !strings.EqualFold(value, "false")
}
