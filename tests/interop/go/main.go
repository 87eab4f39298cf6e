// A service that guards its branches with the barrier of dtm's Go client, driven by a test.
//
//	barrier HOST PORT DATABASE
//
// Reads one JSON command per line and answers with JSON lines that carry the command's id. Commands run
// side by side, each in a goroutine, so that a test can let one wait for another.
//
//	{"id": 1, "do": "call", "trans_type": …, "gid": …, "branch_id": …, "op": …, "sql": ["…"]}
//	    one BranchBarrier, one CallWithDB per SQL; "hold" stops before the first commit until
//	    {"do": "release", "id": 1}, and says {"id": 1, "held": true} then
//	{"id": 2, "do": "query_prepared", "trans_type": …, "gid": …}
//	{"id": 3, "do": "xa_rollback", "gid": …, "branch_id": …}
//
// The last answer to a command: {"id": 1, "ran": [true, …], "error": ""}.
package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/logger"
	_ "github.com/lib/pq"
)

type command struct {
	ID        int      `json:"id"`
	Do        string   `json:"do"`
	TransType string   `json:"trans_type"`
	Gid       string   `json:"gid"`
	BranchID  string   `json:"branch_id"`
	Op        string   `json:"op"`
	SQL       []string `json:"sql"`
	Hold      bool     `json:"hold"`
}

type answer struct {
	ID    int    `json:"id"`
	Held  bool   `json:"held"`
	Ran   []bool `json:"ran"`
	Error string `json:"error"`
}

type service struct {
	conf  dtmcli.DBConf
	db    *sql.DB
	mutex sync.Mutex
	gates map[int]chan struct{}
}

func (s *service) say(a answer) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	line, _ := json.Marshal(a)
	fmt.Println(string(line))
}

// gate is what a held command waits for; released when it is closed.
func (s *service) gate(id int) chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.gates[id] == nil {
		s.gates[id] = make(chan struct{})
	}
	return s.gates[id]
}

func (s *service) call(c command) (ran []bool, err error) {
	barrier, err := dtmcli.BarrierFrom(c.TransType, c.Gid, c.BranchID, c.Op)
	if err != nil {
		return nil, err
	}
	barrier.DBType = dtmcli.DBTypePostgres
	for n, business := range c.SQL {
		called := false
		err = barrier.CallWithDB(s.db, func(tx *sql.Tx) error {
			called = true
			_, err := tx.Exec(business)
			if err == nil && c.Hold && n == 0 {
				s.say(answer{ID: c.ID, Held: true})
				<-s.gate(c.ID)
			}
			return err
		})
		ran = append(ran, called)
		if err != nil {
			break
		}
	}
	return ran, err
}

func (s *service) do(c command) (ran []bool, err error) {
	switch c.Do {
	case "call":
		return s.call(c)
	case "query_prepared":
		barrier := dtmcli.BranchBarrier{TransType: c.TransType, Gid: c.Gid, DBType: dtmcli.DBTypePostgres}
		return nil, barrier.QueryPrepared(s.db)
	case "xa_rollback":
		// The client's own second phase; it asks nobody but this database.
		query := url.Values{"gid": {c.Gid}, "branch_id": {c.BranchID}, "op": {"rollback"}, "trans_type": {"xa"}}
		return nil, dtmcli.XaLocalTransaction(query, s.conf, nil)
	}
	return nil, fmt.Errorf("unknown command %q", c.Do)
}

func main() {
	// It logs to stdout, where the answers go.
	logger.InitLog2("warn", logger.StdErr, 0, "")
	port, err := strconv.ParseInt(os.Args[2], 10, 64)
	logger.FatalIfError(err)
	s := &service{gates: map[int]chan struct{}{}}
	// The password is never asked for; an empty one would make the client's connection string ambiguous.
	s.conf = dtmcli.DBConf{Driver: "postgres", Host: os.Args[1], Port: port, User: "postgres",
		Password: "none", Db: os.Args[3], Schema: "public"}
	s.db, err = sql.Open("postgres", fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable",
		os.Args[1], port, os.Args[3]))
	logger.FatalIfError(err)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var c command
		logger.FatalIfError(json.Unmarshal(lines.Bytes(), &c))
		if c.Do == "release" {
			close(s.gate(c.ID))
			continue
		}
		go func() {
			a := answer{ID: c.ID}
			ran, err := s.do(c)
			a.Ran = append([]bool{}, ran...)
			if err != nil {
				a.Error = err.Error()
			}
			s.say(a)
		}()
	}
}
