// One measurement of tests/bench/barrier: how many branch calls per second a participant commits.
//
//	bench HOST PORT DATABASE MODE CONNECTIONS SECONDS GIDS
//
// MODE: bare (the UPDATE alone), dtm_pg (dtm_barrier_call around it), client (CallWithDB of dtm's Go client around
// it). Every connection sends one branch call after the other, each in a transaction of its own; statements are
// prepared once, where the program can. GIDS: sorted (begin with the time, as those of dtm_pg) or random (as dtm's).
// Prints {"rate": calls per second, "p50_ms": …, "p99_ms": …}.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/logger"
	_ "github.com/lib/pq"
)

const accounts = 10000
const update = "UPDATE account SET balance = balance - $1 WHERE id = $2"

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func gid(sorted bool) string {
	var noise [11]byte
	_, err := rand.Read(noise[:])
	check(err)
	text := hex.EncodeToString(noise[:])
	if sorted {
		return strconv.FormatInt(time.Now().UnixNano(), 36) + text[:10]
	}
	return text
}

// One branch call on behalf of the n-th call of connection c.
type call func(gid string, account int) error

func calls(mode string, db *sql.DB) call {
	if mode == "client" {
		return func(gid string, account int) error {
			barrier, err := dtmcli.BarrierFrom("saga", gid, "01", "action")
			check(err)
			barrier.DBType = dtmcli.DBTypePostgres
			return barrier.CallWithDB(db, func(tx *sql.Tx) error {
				_, err := tx.Exec(update, 1, account)
				return err
			})
		}
	}
	conn, err := db.Conn(context.Background())
	check(err)
	text := update
	if mode == "dtm_pg" {
		text = "SELECT dtm_barrier_call('saga', $1, '01', 'action', '" + update + "', $2::int, $3::int)"
	}
	prepared, err := conn.PrepareContext(context.Background(), text)
	check(err)
	if mode == "bare" {
		return func(_ string, account int) error {
			_, err := prepared.Exec(1, account)
			return err
		}
	}
	return func(gid string, account int) error {
		var ran bool
		err := prepared.QueryRow(gid, 1, account).Scan(&ran)
		if err == nil && !ran {
			err = fmt.Errorf("%s did not run", gid)
		}
		return err
	}
}

func main() {
	if len(os.Args) != 8 {
		fmt.Fprintln(os.Stderr, "bench HOST PORT DATABASE MODE CONNECTIONS SECONDS GIDS")
		os.Exit(2)
	}
	logger.InitLog("error")
	mode, sorted := os.Args[4], os.Args[7] == "sorted"
	connections, err := strconv.Atoi(os.Args[5])
	check(err)
	seconds, err := strconv.ParseFloat(os.Args[6], 64)
	check(err)
	dsn := fmt.Sprintf("host=%s port=%s dbname=%s user=postgres sslmode=disable", os.Args[1], os.Args[2], os.Args[3])

	var wait sync.WaitGroup
	took := make([][]float64, connections)
	warm := time.Now().Add(300 * time.Millisecond)
	end := warm.Add(time.Duration(seconds * float64(time.Second)))
	for c := 0; c < connections; c++ {
		db, err := sql.Open("postgres", dsn)
		check(err)
		db.SetMaxOpenConns(1)
		run := calls(mode, db)
		wait.Add(1)
		go func(c int) {
			defer wait.Done()
			for n := 0; ; n++ {
				// Connections update rows of their own: what is measured is not their quarrel.
				account := 1 + (n*connections+c)%accounts
				begin := time.Now()
				if begin.After(end) {
					return
				}
				check(run(gid(sorted), account))
				if begin.After(warm) {
					took[c] = append(took[c], time.Since(begin).Seconds()*1000)
				}
			}
		}(c)
	}
	wait.Wait()
	all := []float64{}
	for _, t := range took {
		all = append(all, t...)
	}
	sort.Float64s(all)
	at := func(q float64) float64 { return all[int(float64(len(all)-1)*q)] }
	check(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"rate": float64(len(all)) / seconds, "p50_ms": at(0.5), "p99_ms": at(0.99)}))
}
