package front

import (
	"context"
	"net"
	"net/http"
	"time"
)

// ServeHTTP counts a client's request and hands it on, unless a fault is its answer.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, agent := describe(r), agentOf(r)
	row := func(change func(*Count)) { f.counts.add(asked, agent, change) }
	row(func(c *Count) { c.Requests++; c.Open++ })
	defer row(func(c *Count) { c.Open-- })
	if r.Body != nil {
		r.Body = countingBody{r.Body, func(n int) { row(func(c *Count) { c.RequestBytes += int64(n) }) }}
	}
	w = &countingWriter{
		ResponseWriter: w,
		header:         func(code int) { row(func(c *Count) { c.Codes[code]++ }) },
		count:          func(n int) { row(func(c *Count) { c.ResponseBytes += int64(n) }) },
	}
	if fault := f.faults.draw(asked, agent); fault != nil {
		row(func(c *Count) { c.Faults++ })
		fault.answer(w, asked)
		return
	}
	if asked.verb == "watch" {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		watch := Watch{Address: address, Agent: agent, Resource: asked.resource, Since: time.Now().UTC(), cut: cancel}
		defer f.watches.begin(watch)()
		r, w = r.WithContext(ctx), slowWriter{w, &f.watches, ctx.Done(), func() { row(func(c *Count) { c.Delayed++ }) }}
	}
	f.proxy.ServeHTTP(w, r)
}
