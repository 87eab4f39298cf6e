// An application of dtm's Go client: it starts global transactions, and it is the services that they call. Driven by
// a test; the coordinator is whatever listens at -dtm, a dtm server or dtm_pg.
//
//	client -dtm http://127.0.0.1:36789/api/dtmsvr -rpc http://127.0.0.1:36789/api/json-rpc -listen 127.0.0.1:8081
//	       -db-host 127.0.0.1 -db-port 5432 -db-name services
//
// Reads one JSON command per line and answers each with a JSON line, {"id": 1, "gid": …, "error": …, "result": …}.
// Commands run side by side. The database is the services' own, with dtm's barrier table and
//
//	create table account (name text primary key, balance bigint not null, frozen bigint not null default 0)
package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/workflow"
	"github.com/dtm-labs/logger"
	"github.com/go-resty/resty/v2"
	_ "github.com/lib/pq"
)

// step is one branch: the addresses that its type of transaction has, and what they are called with.
type step struct {
	Action     string          `json:"action"`
	Compensate string          `json:"compensate"`
	Try        string          `json:"try"`
	Confirm    string          `json:"confirm"`
	Cancel     string          `json:"cancel"`
	Body       json.RawMessage `json:"body"`
}

// local is the business transaction of a message.
type local struct {
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
	// fail: refuses; error: is rolled back for another reason; lost: commits, and says that it did not;
	// die: commits, and that is the last thing it does.
	Fault string `json:"fault"`
}

type command struct {
	ID       int                 `json:"id"`
	Do       string              `json:"do"` // gid, saga, msg, tcc, xa, workflow, calls
	Gid      string              `json:"gid"`
	Protocol string              `json:"protocol"` // "" or json-rpc
	Name     string              `json:"name"`     // of the workflow
	Steps    []step              `json:"steps"`
	Orders   map[int][]int       `json:"orders"`
	Delay    uint64              `json:"delay"`
	Topic    string              `json:"topic"`
	Query    string              `json:"query"`
	Local    *local              `json:"local"`
	Panic    bool                `json:"panic"` // tcc, xa: the client panics before it decides
	Options  dtmcli.TransOptions `json:"options"`
}

type answer struct {
	ID     int      `json:"id"`
	Gid    string   `json:"gid"`
	Error  string   `json:"error"`
	Result string   `json:"result"`
	Calls  []string `json:"calls"`
}

type application struct {
	dtm, rpc string
	bank     *bank
	mutex    sync.Mutex
}

func (a *application) say(what answer) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	line, _ := json.Marshal(what)
	fmt.Println(string(line))
}

// server is the address of the coordinator in the protocol of a command.
func (a *application) server(c command) string {
	if c.Protocol == dtmimp.Jrpc {
		return a.rpc
	}
	return a.dtm
}

func (a *application) saga(c command) error {
	saga := dtmcli.NewSaga(a.server(c), c.Gid)
	saga.TransOptions, saga.Protocol = c.Options, c.Protocol
	for _, s := range c.Steps {
		saga.Add(s.Action, s.Compensate, s.Body)
	}
	for branch, before := range c.Orders {
		saga.AddBranchOrder(branch, before)
	}
	return saga.Submit()
}

func (a *application) msg(c command) error {
	msg := dtmcli.NewMsg(a.server(c), c.Gid)
	msg.TransOptions, msg.Protocol = c.Options, c.Protocol
	msg.SetDelay(c.Delay)
	for _, s := range c.Steps {
		if c.Topic != "" {
			msg.AddTopic(c.Topic, s.Body)
		} else {
			msg.Add(s.Action, s.Body)
		}
	}
	if c.Local == nil {
		if c.Query != "" {
			if err := msg.Prepare(c.Query); err != nil {
				return err
			}
		}
		return msg.Submit()
	}
	business := func(tx *sql.Tx) error {
		if err := a.bank.move(tx, c.Local.Account, c.Local.Amount, 0); err != nil {
			return err
		}
		switch c.Local.Fault {
		case "fail":
			return dtmcli.ErrFailure
		case "error":
			return errors.New("the business has a problem")
		}
		return nil
	}
	switch c.Local.Fault {
	case "lost":
		return msg.DoAndSubmit(c.Query, func(bb *dtmcli.BranchBarrier) error {
			if err := bb.CallWithDB(a.bank.db, business); err != nil {
				return err
			}
			return errors.New("the answer of the commit is lost")
		})
	case "die":
		if err := msg.Prepare(c.Query); err != nil {
			return err
		}
		bb, err := dtmcli.BarrierFrom("msg", c.Gid, "00", "msg")
		if err == nil {
			err = bb.CallWithDB(a.bank.db, business)
		}
		return err
	}
	return msg.DoAndSubmitDB(c.Query, a.bank.db, business)
}

func (a *application) tcc(c command) error {
	custom := func(tcc *dtmcli.Tcc) { tcc.TransOptions, tcc.Protocol = c.Options, c.Protocol }
	return dtmcli.TccGlobalTransaction2(a.server(c), c.Gid, custom, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
		for _, s := range c.Steps {
			if response, err := tcc.CallBranch(s.Body, s.Try, s.Confirm, s.Cancel); err != nil {
				return response, err
			}
		}
		if c.Panic {
			panic("the application panics")
		}
		return nil, nil
	})
}

func (a *application) xa(c command) error {
	custom := func(xa *dtmcli.Xa) { xa.TransOptions = c.Options }
	return dtmcli.XaGlobalTransaction2(a.dtm, c.Gid, custom, func(xa *dtmcli.Xa) (*resty.Response, error) {
		for _, s := range c.Steps {
			if response, err := xa.CallBranch(s.Body, s.Action); err != nil {
				return response, err
			}
		}
		if c.Panic {
			panic("the application panics")
		}
		return nil, nil
	})
}

func (a *application) do(c command) (result string, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v", x)
		}
	}()
	switch c.Do {
	case "gid":
		return dtmcli.MustGenGid(a.dtm), nil
	case "saga":
		return "", a.saga(c)
	case "msg":
		return "", a.msg(c)
	case "tcc":
		return "", a.tcc(c)
	case "xa":
		return "", a.xa(c)
	case "workflow":
		data, err := workflow.Execute2(c.Name, c.Gid, dtmimp.MustMarshal(plan{Steps: c.Steps, Options: c.Options}))
		return string(data), err
	case "calls":
		return strings.Join(a.bank.callsOf(c.Gid), "\n"), nil
	}
	return "", fmt.Errorf("unknown command %q", c.Do)
}

func main() {
	a := &application{}
	flag.StringVar(&a.dtm, "dtm", "http://127.0.0.1:36789/api/dtmsvr", "HTTP API of the coordinator")
	flag.StringVar(&a.rpc, "rpc", "http://127.0.0.1:36789/api/json-rpc", "its JSON-RPC address")
	listen := flag.String("listen", "127.0.0.1:8081", "where the services listen")
	conf := dtmcli.DBConf{Driver: "postgres", User: "postgres", Password: "none", Schema: "public"}
	flag.StringVar(&conf.Host, "db-host", "127.0.0.1", "database of the services: host")
	flag.Int64Var(&conf.Port, "db-port", 5432, "port")
	flag.StringVar(&conf.Db, "db-name", "services", "name")
	holdAfter := flag.Int("hold-workflows-after", 0, "workflows stand still after so many steps, for ever")
	flag.Parse()

	logger.InitLog2("fatal", logger.StdErr, 0, "") // it would log to stdout, where the answers go
	dtmcli.SetCurrentDBType(dtmcli.DBTypePostgres)
	db, err := sql.Open("postgres", fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable",
		conf.Host, conf.Port, conf.Db))
	logger.FatalIfError(err)
	db.SetMaxOpenConns(20)
	a.bank = &bank{conf: conf, db: db, seen: map[string]int{}}
	workflow.InitHTTP(a.dtm, "http://"+*listen+"/workflow/resume")
	registerWorkflows(a.bank, *holdAfter)
	go func() { logger.FatalIfError(http.ListenAndServe(*listen, a.bank.services())) }()

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		logger.FatalIfError(json.Unmarshal(lines.Bytes(), &c))
		go func() {
			result, err := a.do(c)
			said := answer{ID: c.ID, Gid: c.Gid, Result: result}
			if err != nil {
				said.Error = err.Error()
			}
			a.say(said)
		}()
	}
}
