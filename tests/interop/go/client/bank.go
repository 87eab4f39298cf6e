package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/workflow"
)

// bank is the services: accounts in PostgreSQL, every effect guarded by dtm's barrier, and faults on demand.
//
//	/bank/out/ROLE, /bank/in/ROLE   takes from or gives to an account; ROLE: action, compensate, try, confirm, cancel
//	/bank/nested/ROLE               a TCC branch whose try registers and calls a branch of its own, body's "inner"
//	/xa/out, /xa/in                 an XA branch, both phases
//	/rpc?method=out.action          the first ones in JSON-RPC
//	/query                          was the local transaction of a message committed?
//	/workflow/resume                the callback of the workflows
//
// Options in the query string: fault=fail|ongoing|error|hang|late, times=N (only the first N calls of an operation),
// fault_op=OP (only that operation). hang: no effect and no answer; late: effect, no answer.
type bank struct {
	conf  dtmcli.DBConf
	db    *sql.DB
	mutex sync.Mutex
	calls []call
	seen  map[string]int
}

type call struct{ gid, text string }

type order struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
	Inner   *step  `json:"inner"`
}

// move changes an account; money that is not there is a FAILURE.
func (b *bank) move(db dtmcli.DB, account string, balance, frozen int64) error {
	result, err := db.Exec("update account set balance = balance + $2, frozen = frozen + $3"+
		" where name = $1 and balance + $2 >= 0", account, balance, frozen)
	if err != nil {
		return err
	}
	if rows, _ := result.RowsAffected(); rows != 1 {
		return fmt.Errorf("%s has too little money. %w", account, dtmcli.ErrFailure)
	}
	return nil
}

// effect is what a role does to an account; incoming money is frozen between try and confirm.
func (b *bank) effect(db dtmcli.DB, direction, role string, o order) error {
	balance, frozen := map[string]int64{"action": 1, "compensate": -1}[role]*o.Amount, int64(0)
	switch direction + " " + role {
	case "out try":
		balance, frozen = o.Amount, o.Amount // the sign of balance turns below
	case "out confirm":
		frozen = -o.Amount
	case "out cancel":
		balance, frozen = -o.Amount, -o.Amount
	case "in try":
		frozen = o.Amount
	case "in confirm":
		balance, frozen = o.Amount, -o.Amount
	case "in cancel":
		frozen = -o.Amount
	}
	if direction == "out" {
		balance = -balance
	}
	return b.move(db, o.Account, balance, frozen)
}

// noted writes a call down and says how often this operation was called before.
func (b *bank) noted(path string, qs url.Values) int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.calls = append(b.calls, call{qs.Get("gid"), qs.Get("branch_id") + " " + qs.Get("op")})
	key := path + " " + qs.Get("gid") + " " + qs.Get("branch_id") + " " + qs.Get("op")
	b.seen[key]++
	return b.seen[key] - 1
}

func (b *bank) callsOf(gid string) (texts []string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for _, c := range b.calls {
		if c.gid == gid {
			texts = append(texts, c.text)
		}
	}
	return texts
}

// misbehave says what becomes of a call: fault's error before the effect, silence after it.
func misbehave(r *http.Request, qs url.Values, before int) (err error, silent bool) {
	times := 1 << 30
	if qs.Get("times") != "" {
		times = dtmimp.MustAtoi(qs.Get("times"))
	}
	if before >= times || (qs.Get("fault_op") != "" && qs.Get("fault_op") != qs.Get("op")) {
		return nil, false
	}
	switch qs.Get("fault") {
	case "fail":
		return fmt.Errorf("refused on demand. %w", dtmcli.ErrFailure), false
	case "ongoing":
		return dtmcli.ErrOngoing, false
	case "error":
		return fmt.Errorf("out of order"), false
	case "hang":
		<-r.Context().Done()
		return fmt.Errorf("nobody listens any more"), false
	case "late":
		return nil, true
	}
	return nil, false
}

type handler func(qs url.Values, body []byte) (interface{}, error)

// served makes an HTTP service of a handler, with the results that dtm's own samples give.
func (b *bank) served(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		qs := r.URL.Query()
		var result interface{} = dtmcli.MapSuccess
		silent := false
		if err == nil {
			err, silent = misbehave(r, qs, b.noted(r.URL.Path, qs))
		}
		if err == nil {
			var got interface{}
			if got, err = h(qs, body); got != nil {
				result = got
			}
		}
		if silent {
			<-r.Context().Done()
			return
		}
		if err != nil {
			result = err
		}
		code, answer := dtmcli.Result2HttpJSON(result)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (b *bank) guarded(direction, role string) handler {
	return func(qs url.Values, body []byte) (interface{}, error) {
		var o order
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, err
		}
		barrier, err := dtmcli.BarrierFromQuery(qs)
		if err != nil {
			return nil, err
		}
		return nil, barrier.CallWithDB(b.db, func(tx *sql.Tx) error { return b.effect(tx, direction, role, o) })
	}
}

func (b *bank) nested(qs url.Values, body []byte) (interface{}, error) {
	var o order
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	tcc, err := dtmcli.TccFromQuery(qs)
	if err == nil {
		_, err = tcc.CallBranch(o.Inner.Body, o.Inner.Try, o.Inner.Confirm, o.Inner.Cancel)
	}
	return nil, err
}

func (b *bank) xa(direction string) handler {
	return func(qs url.Values, body []byte) (interface{}, error) {
		return nil, dtmcli.XaLocalTransaction(qs, b.conf, func(db *sql.DB, _ *dtmcli.Xa) error {
			var o order
			if err := json.Unmarshal(body, &o); err != nil {
				return err
			}
			return b.effect(db, direction, "action", o)
		})
	}
}

func (b *bank) query(qs url.Values, _ []byte) (interface{}, error) {
	barrier, err := dtmcli.BarrierFromQuery(qs)
	if err != nil {
		return nil, err
	}
	return nil, barrier.QueryPrepared(b.db)
}

func (b *bank) resume(qs url.Values, body []byte) (interface{}, error) {
	return nil, workflow.ExecuteByQS(qs, body)
}

// rpc answers JSON-RPC; what an operation is about stands in the params.
func (b *bank) rpc(w http.ResponseWriter, r *http.Request) {
	var request struct {
		ID     string          `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	var about struct {
		Gid       string `json:"gid"`
		TransType string `json:"trans_type"`
		BranchID  string `json:"branch_id"`
		Op        string `json:"op"`
	}
	err := json.NewDecoder(r.Body).Decode(&request)
	if err == nil {
		err = json.Unmarshal(request.Params, &about)
	}
	qs := r.URL.Query()
	for name, value := range map[string]string{"gid": about.Gid, "trans_type": about.TransType,
		"branch_id": about.BranchID, "op": about.Op} {
		qs.Set(name, value)
	}
	if err == nil {
		err, _ = misbehave(r, qs, b.noted(r.URL.Path+" "+request.Method, qs))
	}
	if err == nil {
		direction, role, _ := strings.Cut(request.Method, ".")
		_, err = b.guarded(direction, role)(qs, request.Params)
	}
	reply := map[string]interface{}{"jsonrpc": "2.0", "id": request.ID}
	code := -32603
	switch {
	case errors.Is(err, dtmcli.ErrFailure):
		code = dtmimp.JrpcCodeFailure
	case errors.Is(err, dtmcli.ErrOngoing):
		code = dtmimp.JrpcCodeOngoing
	}
	if err == nil {
		reply["result"] = dtmcli.MapSuccess
	} else {
		reply["error"] = map[string]interface{}{"code": code, "message": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply)
}

func (b *bank) services() http.Handler {
	mux := http.NewServeMux()
	for _, direction := range []string{"out", "in"} {
		for _, role := range []string{"action", "compensate", "try", "confirm", "cancel"} {
			mux.HandleFunc("/bank/"+direction+"/"+role, b.served(b.guarded(direction, role)))
		}
		mux.HandleFunc("/xa/"+direction, b.served(b.xa(direction)))
	}
	mux.HandleFunc("/bank/nested/try", b.served(b.nested))
	nothing := func(url.Values, []byte) (interface{}, error) { return nil, nil }
	mux.HandleFunc("/bank/nested/confirm", b.served(nothing))
	mux.HandleFunc("/bank/nested/cancel", b.served(nothing))
	mux.HandleFunc("/rpc", b.rpc)
	mux.HandleFunc("/query", b.served(b.query))
	mux.HandleFunc("/workflow/resume", b.served(b.resume))
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("pong")) })
	return mux
}
