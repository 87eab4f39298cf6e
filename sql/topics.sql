-- Topics: a message whose action is topic://NAME calls each subscriber.
BEGIN;
SELECT dtm_subscribe('sold', 'http://mail/', 'sends a mail');
SELECT dtm_subscribe('sold', 'http://stock/');
SELECT topic, url, remark, version FROM dtm.topic;
SELECT cat, k, v, version FROM dtm.kv;

SELECT dtm_submit('msg', ARRAY[dtm_step('http://first/'), dtm_step('topic://sold', payload =>
  '{"n": 1}')],
                  't1', '{"delay": 3600}');
SELECT branch_id, op, url, status FROM dtm.branch WHERE gid = 't1';

-- What was submitted stays as it was.
SELECT dtm_unsubscribe('sold', 'http://mail/');
SELECT count(*) FROM dtm.branch WHERE gid = 't1';
-- A single subscriber has a plain number.
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://sold')], 't2', '{"delay": 3600}');
SELECT branch_id, url FROM dtm.branch WHERE gid = 't2';

SELECT * FROM refused($$SELECT dtm_subscribe('', 'http://mail/')$$);
SELECT * FROM refused($$SELECT dtm_subscribe('sold', NULL)$$);
SELECT * FROM refused($$SELECT dtm_subscribe('sold', 'mail')$$);
SELECT * FROM refused($$SELECT dtm_subscribe('sold', 'topic://other')$$);
SELECT * FROM refused($$SELECT dtm_subscribe('sold', 'http://stock/')$$);
SELECT * FROM refused($$SELECT dtm_subscribe(repeat('t', 256), 'http://mail/')$$);
SELECT * FROM refused($$SELECT dtm_subscribe('sold', 'http://mail/', repeat('r', 4097))$$);
SELECT * FROM refused($$SELECT dtm_unsubscribe('lost', 'http://stock/')$$);
SELECT * FROM refused($$SELECT dtm_unsubscribe('sold', 'http://mail/')$$);
SELECT dtm_unsubscribe('sold', 'http://stock/');
SELECT * FROM refused($$SELECT dtm_unsubscribe('sold', 'http://stock/')$$);
-- Nobody listens: the message is refused, not lost.
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://sold')])$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://lost')])$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://')])$$);
SELECT dtm_drop_topic('sold');
SELECT * FROM refused($$SELECT dtm_drop_topic('sold')$$);
SELECT count(*) FROM dtm.kv;
-- Who changed which topic is kept.
SELECT verb, role = session_user AS mine, detail FROM dtm.event WHERE detail ~ '^topic '
 ORDER BY time;
ROLLBACK;
-- Two orders of the same microsecond are both kept.
BEGIN;
ALTER TABLE dtm.event ALTER COLUMN time SET DEFAULT '2000-01-01 00:00+00';
SELECT dtm_subscribe('sold', 'http://mail/'), dtm_subscribe('bought', 'http://mail/');
SELECT count(*) FROM dtm.event WHERE verb = 'subscribe' AND time = '2000-01-01 00:00+00';
ROLLBACK;
