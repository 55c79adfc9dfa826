package front

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Watch is one that is open.
type Watch struct {
	// Address is the client's, without its port.
	Address string `json:"address"`
	// Agent is the client's name.
	Agent string `json:"userAgent"`
	// Resource is what it watches.
	Resource string `json:"resource"`
	// Since is when it was opened.
	Since time.Time `json:"since"`

	cut context.CancelFunc
}

// watches are all that are open, and how long each of their events is held back.
type watches struct {
	delay atomic.Int64

	mutex sync.Mutex
	next  uint64
	open  map[uint64]Watch
}

// begin notes a watch; the answered function forgets it.
func (w *watches) begin(watch Watch) func() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.open == nil {
		w.open = map[uint64]Watch{}
	}
	id := w.next
	w.next++
	w.open[id] = watch
	return func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		delete(w.open, id)
	}
}

// whose says which watches are meant: those from these addresses, of clients whose user agent begins so. What is empty
// says nothing.
type whose struct {
	Addresses []string `json:"addresses"`
	Agent     string   `json:"userAgent"`
}

func (o whose) isEverybody() bool { return len(o.Addresses) == 0 && o.Agent == "" }

func (o whose) includes(watch Watch) bool {
	return (len(o.Addresses) == 0 || slices.Contains(o.Addresses, watch.Address)) && strings.HasPrefix(watch.Agent, o.Agent)
}

// cutAll ends these watches in the middle of their streams, as a broken connection does, and answers how many there
// were.
func (w *watches) cutAll(theirs whose) int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	count := 0
	for _, watch := range w.open {
		if theirs.includes(watch) {
			watch.cut()
			count++
		}
	}
	return count
}

// list answers the open watches, oldest first.
func (w *watches) list() []Watch {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	all := make([]Watch, 0, len(w.open))
	for _, watch := range w.open {
		all = append(all, watch)
	}
	slices.SortFunc(all, func(a, b Watch) int { return a.Since.Compare(b.Since) })
	return all
}

// slowWriter holds back what is written to a watch; the client sees events late, and in order.
type slowWriter struct {
	http.ResponseWriter
	watches *watches
	done    <-chan struct{}
	// delayed is called for each piece that was held back.
	delayed func()
}

func (s slowWriter) Write(data []byte) (int, error) {
	if delay := time.Duration(s.watches.delay.Load()); delay > 0 {
		select {
		case <-time.After(delay):
			s.delayed()
		case <-s.done:
		}
	}
	return s.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController find the writer that can flush.
func (s slowWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
