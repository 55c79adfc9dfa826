package front

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Count is what one kind of client has asked of one resource with one verb.
type Count struct {
	// Agent is the first word of the User-Agent header.
	Agent string `json:"userAgent"`
	// Verb and Resource are the API server's words; a path's beginning where there is no resource.
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	// Requests have begun; Open of them have not ended.
	Requests int64 `json:"requests"`
	Open     int64 `json:"open"`
	// Faults were answered by front.
	Faults int64 `json:"faults"`
	// Delayed are the pieces of watches' answers that were held back before they were handed on.
	Delayed int64 `json:"delayed"`
	// Codes has the number of answers by HTTP status. A request whose connection broke before has none.
	Codes map[int]int64 `json:"codes"`
	// RequestBytes and ResponseBytes are those of the bodies, as they were sent.
	RequestBytes  int64 `json:"requestBytes"`
	ResponseBytes int64 `json:"responseBytes"`
}

// Counts is everything since a time.
type Counts struct {
	Since    time.Time `json:"since"`
	Requests []Count   `json:"requests"`
}

type key struct{ agent, verb, resource string }

type counts struct {
	mutex sync.Mutex
	since time.Time
	rows  map[key]*Count
}

func newCounts() *counts {
	return &counts{since: time.Now().UTC(), rows: map[key]*Count{}}
}

// add changes the row of this request.
func (c *counts) add(asked request, agent string, change func(*Count)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	at := key{agent, asked.verb, asked.resource}
	row := c.rows[at]
	if row == nil {
		row = &Count{Agent: agent, Verb: asked.verb, Resource: asked.resource, Codes: map[int]int64{}}
		c.rows[at] = row
	}
	change(row)
}

// reset begins anew; requests that are open stay counted as open.
func (c *counts) reset() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.since = time.Now().UTC()
	for at, row := range c.rows {
		if row.Open == 0 {
			delete(c.rows, at)
			continue
		}
		*row = Count{Agent: row.Agent, Verb: row.Verb, Resource: row.Resource, Open: row.Open, Codes: map[int]int64{}}
	}
}

// list answers a copy, in the order of agent, resource and verb.
func (c *counts) list() Counts {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	all := Counts{Since: c.since, Requests: make([]Count, 0, len(c.rows))}
	for _, row := range c.rows {
		copied := *row
		copied.Codes = make(map[int]int64, len(row.Codes))
		for code, count := range row.Codes {
			copied.Codes[code] = count
		}
		all.Requests = append(all.Requests, copied)
	}
	slices.SortFunc(all.Requests, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Agent, b.Agent), strings.Compare(a.Resource, b.Resource),
			strings.Compare(a.Verb, b.Verb))
	})
	return all
}

// agentOf is the first word of a client's name: `kubectl/v1.37.2`.
func agentOf(r *http.Request) string {
	name, _, _ := strings.Cut(r.UserAgent(), " ")
	return name
}

// countingBody counts what a client sends while it is read.
type countingBody struct {
	io.ReadCloser
	count func(int)
}

func (b countingBody) Read(data []byte) (int, error) {
	n, err := b.ReadCloser.Read(data)
	b.count(n)
	return n, err
}

// countingWriter counts what a client gets while it is written, so that an open watch shows what it has cost.
type countingWriter struct {
	http.ResponseWriter
	wrote  bool
	header func(int)
	count  func(int)
}

func (w *countingWriter) WriteHeader(code int) {
	// Informational answers come before the answer.
	if !w.wrote && code >= http.StatusOK {
		w.wrote = true
		w.header(code)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *countingWriter) Write(data []byte) (int, error) {
	if !w.wrote {
		w.wrote = true
		w.header(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(data)
	w.count(n)
	return n, err
}

// Unwrap lets http.ResponseController find the writer that can flush.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
