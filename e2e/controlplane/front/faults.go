package front

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// retryAfter is what an injected 429 or 503 asks for, in seconds; API Priority and Fairness says 1 too.
const retryAfter = 1

// Fault is an answer in the API server's place, for a share of the requests that it could be an answer to.
type Fault struct {
	// Code is the HTTP status: 409, 410, 429, 500 or 503.
	Code int `json:"code"`
	// Rate is the share, from 0 to 1.
	Rate float64 `json:"rate"`
	// Agent, Verb and Resource narrow it: the user agent begins so, the others are so. Empty means any.
	Agent    string `json:"userAgent,omitempty"`
	Verb     string `json:"verb,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// reasons are the API server's own (metav1.StatusReason).
var reasons = map[int]string{
	http.StatusConflict:            "Conflict",
	http.StatusGone:                "Expired",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalError",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
}

func (f Fault) check() error {
	if _, ok := reasons[f.Code]; !ok {
		return fmt.Errorf("%d is no code that is injected: 409, 410, 429, 500, 503", f.Code)
	}
	if !(f.Rate > 0 && f.Rate <= 1) {
		return fmt.Errorf("%v is no share: above 0, and at most 1", f.Rate)
	}
	return nil
}

// fits says whether this fault could be the answer to a request: an API server conflicts on writes only, and says that
// a version is gone to lists and watches only.
func (f Fault) fits(asked request, agent string) bool {
	if !asked.isResource() || !strings.HasPrefix(agent, f.Agent) {
		return false
	}
	if (f.Verb != "" && f.Verb != asked.verb) || (f.Resource != "" && f.Resource != asked.resource) {
		return false
	}
	switch f.Code {
	case http.StatusConflict:
		return slices.Contains([]string{"create", "update", "patch", "delete"}, asked.verb)
	case http.StatusGone:
		return asked.verb == "list" || asked.verb == "watch"
	default:
		return true
	}
}

// faults holds the fault in force.
type faults struct{ current atomic.Pointer[Fault] }

// draw answers the fault that this request meets, or nil.
func (f *faults) draw(asked request, agent string) *Fault {
	fault := f.current.Load()
	if fault == nil || !fault.fits(asked, agent) || rand.Float64() >= fault.Rate {
		return nil
	}
	return fault
}

// status is a metav1.Status, the body of every failure of an API server.
type status struct {
	Kind       string         `json:"kind"`
	APIVersion string         `json:"apiVersion"`
	Metadata   struct{}       `json:"metadata"`
	Status     string         `json:"status"`
	Message    string         `json:"message"`
	Reason     string         `json:"reason"`
	Details    *statusDetails `json:"details,omitempty"`
	Code       int            `json:"code"`
}

type statusDetails struct {
	Name              string `json:"name,omitempty"`
	Kind              string `json:"kind,omitempty"`
	RetryAfterSeconds int    `json:"retryAfterSeconds,omitempty"`
}

func (f Fault) status(asked request) status {
	answer := status{
		Kind: "Status", APIVersion: "v1", Status: "Failure", Code: f.Code, Reason: reasons[f.Code],
		Details: &statusDetails{Name: asked.name, Kind: asked.resource},
	}
	switch f.Code {
	case http.StatusConflict:
		answer.Message = fmt.Sprintf("Operation cannot be fulfilled on %s %q: the object has been modified; "+
			"please apply your changes to the latest version and try again", asked.resource, asked.name)
		if asked.verb == "create" {
			answer.Reason = "AlreadyExists"
			answer.Message = fmt.Sprintf("%s %q already exists", asked.resource, asked.name)
		}
	case http.StatusGone:
		answer.Message = "The resourceVersion for the provided " + asked.verb + " is too old."
	case http.StatusInternalServerError:
		answer.Message = "Internal error occurred: injected by the lab"
	default:
		answer.Message = "the server is not able to handle the request now; injected by the lab, try again later"
		answer.Details.RetryAfterSeconds = retryAfter
	}
	return answer
}

// answer writes the fault. A watch whose version is gone gets a stream with one event that says so: that is how an API
// server tells it.
func (f Fault) answer(w http.ResponseWriter, asked request) {
	body := any(f.status(asked))
	code := f.Code
	if code == http.StatusGone && asked.verb == "watch" {
		body, code = map[string]any{"type": "ERROR", "object": body}, http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	if f.Code == http.StatusTooManyRequests || f.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(code)
	// A client that has gone away needs no answer.
	_ = json.NewEncoder(w).Encode(body)
}
