package front

import (
	"encoding/json"
	"net/http"
	"time"
)

// controls is what front can be told and asked:
//
//	GET    /requests     what was counted
//	DELETE /requests     count anew
//	GET    /fault        the fault in force, or null
//	PUT    /fault        a Fault
//	DELETE /fault        none any more
//	GET    /watches      the watches that are open
//	POST   /watches/cut  {"addresses": [...], "userAgent": "..."}: end those from these addresses, and of clients whose
//	                     user agent begins so; one of the two may be left out; answers {"cut": N}
//	PUT    /watches/delay {"milliseconds": N}: hold each event of every watch back so long
//	POST   /listen       {"open": true|false}: whether clients can connect
func (f *Front) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { answer(w, f.counts.list()) })
	mux.HandleFunc("DELETE /requests", func(w http.ResponseWriter, _ *http.Request) {
		f.counts.reset()
		answer(w, f.counts.list())
	})
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, _ *http.Request) { answer(w, f.faults.current.Load()) })
	mux.HandleFunc("PUT /fault", f.setFault)
	mux.HandleFunc("DELETE /fault", func(w http.ResponseWriter, _ *http.Request) {
		f.faults.current.Store(nil)
		answer(w, nil)
	})
	mux.HandleFunc("GET /watches", func(w http.ResponseWriter, _ *http.Request) { answer(w, f.watches.list()) })
	mux.HandleFunc("POST /watches/cut", f.cutWatches)
	mux.HandleFunc("PUT /watches/delay", f.delayWatches)
	mux.HandleFunc("POST /listen", f.listen)
	return mux
}

func (f *Front) setFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if !read(w, r, &fault) {
		return
	}
	if err := fault.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.faults.current.Store(&fault)
	answer(w, fault)
}

func (f *Front) cutWatches(w http.ResponseWriter, r *http.Request) {
	var wanted whose
	if !read(w, r, &wanted) {
		return
	}
	if wanted.isEverybody() {
		http.Error(w, "name addresses, a user agent, or both", http.StatusBadRequest)
		return
	}
	answer(w, map[string]int{"cut": f.watches.cutAll(wanted)})
}

func (f *Front) delayWatches(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Milliseconds int64 `json:"milliseconds"`
	}
	if read(w, r, &wanted) {
		f.watches.delay.Store(wanted.Milliseconds * int64(time.Millisecond))
		answer(w, wanted)
	}
}

func (f *Front) listen(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Open bool `json:"open"`
	}
	if !read(w, r, &wanted) {
		return
	}
	if !wanted.Open {
		f.Close()
	} else if err := f.Open(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, wanted)
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, "read the request: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	// Whoever asked and has gone away needs no answer.
	_ = json.NewEncoder(w).Encode(value)
}
