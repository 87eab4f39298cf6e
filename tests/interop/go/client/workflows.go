package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/workflow"
)

// plan is the input of every workflow here.
type plan struct {
	Steps   []step              `json:"steps"`
	Options dtmcli.TransOptions `json:"options"`
}

// post calls a service as a recorded step, or as part of a second phase.
func post(wf *workflow.Workflow, address string, body json.RawMessage) error {
	_, err := wf.NewRequest().SetHeader("Content-Type", "application/json").SetBody([]byte(body)).Post(address)
	return err
}

func sagaStep(wf *workflow.Workflow, s step) error {
	wf.NewBranch().OnRollback(func(*dtmcli.BranchBarrier) error { return post(wf, s.Compensate, s.Body) })
	return post(wf, s.Action, s.Body)
}

func tccStep(wf *workflow.Workflow, s step) error {
	wf.NewBranch().OnRollback(func(*dtmcli.BranchBarrier) error { return post(wf, s.Cancel, s.Body) }).
		OnCommit(func(*dtmcli.BranchBarrier) error { return post(wf, s.Confirm, s.Body) })
	return post(wf, s.Try, s.Body)
}

// direction is out or in: the last word of a step's address.
func (b *bank) xaStep(wf *workflow.Workflow, direction string, s step) error {
	var o order
	if err := json.Unmarshal(s.Body, &o); err != nil {
		return err
	}
	_, err := wf.NewBranch().DoXa(b.conf, func(db *sql.DB) ([]byte, error) {
		return nil, b.effect(db, direction, "action", o)
	})
	return err
}

// localStep is a step without a service: its effect and the barrier's row are one transaction.
func (b *bank) localStep(wf *workflow.Workflow, direction string, s step) error {
	var o order
	if err := json.Unmarshal(s.Body, &o); err != nil {
		return err
	}
	wf.NewBranch().OnRollback(func(barrier *dtmcli.BranchBarrier) error {
		return barrier.CallWithDB(b.db, func(tx *sql.Tx) error { return b.effect(tx, direction, "compensate", o) })
	})
	_, err := wf.Do(func(barrier *dtmcli.BranchBarrier) ([]byte, error) {
		return []byte("moved"), barrier.CallWithDB(b.db, func(tx *sql.Tx) error {
			return b.effect(tx, direction, "action", o)
		})
	})
	return err
}

// one does a step in the way that its addresses ask for.
func (b *bank) one(wf *workflow.Workflow, s step) error {
	switch {
	case s.Try != "":
		return tccStep(wf, s)
	case s.Action == "xa:out" || s.Action == "xa:in":
		return b.xaStep(wf, s.Action[3:], s)
	case s.Action == "local:out" || s.Action == "local:in":
		return b.localStep(wf, s.Action[6:], s)
	}
	return sagaStep(wf, s)
}

func registerWorkflows(b *bank, holdAfter int) {
	handle := func(wf *workflow.Workflow, data []byte) ([]byte, error) {
		var p plan
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, err
		}
		for n, s := range p.Steps {
			if holdAfter > 0 && n == holdAfter {
				select {}
			}
			if err := b.one(wf, s); err != nil {
				// What resty's transport returned, without its own words around it.
				if errors.Is(err, dtmcli.ErrFailure) {
					return nil, fmt.Errorf("step %d was refused. %w", n+1, dtmcli.ErrFailure)
				}
				return nil, err
			}
		}
		return []byte(fmt.Sprintf("%d steps", len(p.Steps))), nil
	}
	for _, name := range []string{"transfer", "another name"} {
		if err := workflow.Register2(name, handle, func(wf *workflow.Workflow) {
			wf.TransOptions.RetryInterval = 1
			wf.TransOptions.RequestTimeout = 2
		}); err != nil {
			panic(err)
		}
	}
}
