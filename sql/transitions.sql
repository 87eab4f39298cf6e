-- All changes of status that there are (P4). src/core/README.md draws the same table.
SELECT trans_type, from_status, trigger, to_status FROM dtm.state_transitions();
SELECT count(*) FROM dtm.state_transitions() WHERE why = '';
-- Nothing leaves a final status.
SELECT count(*) FROM dtm.state_transitions() WHERE from_status IN ('succeed', 'failed');
