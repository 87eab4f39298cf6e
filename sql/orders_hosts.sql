-- Which host an order is about, and which URLs a prefix begins. Nothing of it is committed.
BEGIN;
CREATE TEMP VIEW paused AS SELECT name FROM dtm.control WHERE kind = 'pause' ORDER BY name;

-- One host, one order.
SELECT dtm_pause(host => 'http://h2');
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://h2:')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://H2.:0080/')$$);
SELECT dtm_pause(host => 'https://h2:443'), dtm_pause(host => 'http://h2:08080');
SELECT dtm_pause(host => 'http://[::1]:80'), dtm_pause(host => 'http://127.0.0.1:081');
SELECT * FROM paused;
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://127.1')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://0x7f000001:81')$$);
SELECT * FROM refused($$SELECT dtm_resume(host => 'http://%3127.0.0.1:81')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://[0::1]')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://[::ffff:127.0.0.1]')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://p%61y.example')$$);
SELECT dtm_resume(host => 'http://h2:'), dtm_resume(host => 'https://h2.'),
  dtm_resume(host => 'HTTP://h2:8080/'), dtm_resume(host => 'http://[::1]'),
  dtm_resume(host => 'http://127.0.0.1:81');
SELECT * FROM paused;

-- A prefix that ends with a host is not the beginning of a longer one, or of a longer port.
SELECT dtm_submit('saga', ARRAY[dtm_step('http://pay/charge'), dtm_step('http://pay'),
  dtm_step('http://pay?a=1'), dtm_step('http://pay:9000/charge'),
  dtm_step('http://pay@stranger/charge'), dtm_step('http://pay:9@stranger/charge'),
  dtm_step('http://payments.example.com/charge'), dtm_step('http://pay.example.com/charge'),
  dtm_step('http://stock:80/take'), dtm_step('http://stock:8080/take')], 'oh');
CREATE TEMP VIEW called AS
  SELECT regexp_replace(line, ' *(\d+) .*(http://[^ ]*)  redirected to ([^ ]*) .*', '\1 \2 -> \3')
    AS redirected FROM dtm_explain('oh') line WHERE line ~ 'redirected';
SELECT dtm_redirect('http://pay', 'http://pay-new:8080'),
  dtm_redirect('http://stock:80', 'http://stock-new');
SELECT * FROM called;
SELECT dtm_redirect('http://pay', 'http://pay-new'),
  dtm_redirect('http://stock:80', 'http://stock-new/v2');
SELECT * FROM called;
-- Nor does a new prefix that ends with a host grow.
SELECT dtm_redirect('http://pay', NULL), dtm_redirect('http://pay/ch', 'http://pay-new'),
  dtm_redirect('http://pay/charge', 'http://pay-other');
SELECT * FROM called;
SELECT * FROM refused($$SELECT dtm_redirect('http://pay/', 'http://pay-new')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://pay/v1/', 'http://pay-new:81')$$);

-- Whoever looks at a transaction may not see the order: the secrets in it are left out.
CREATE ROLE regress_dtm_buyer;
SELECT dtm_grant('regress_dtm_buyer', 'submit');
SELECT dtm_redirect('http://pay', 'http://user:word@pay-new:81/v2?key=secret&to=');
SET ROLE regress_dtm_buyer;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://pay/refund')], 'of');
SELECT line FROM dtm_explain('of') line WHERE line ~ 'redirected';
RESET ROLE;
UPDATE dtm.trans SET progress = '{"b":[{"a":{"n":3,"e":3,"t":4102444800000000,"l":"refused"}}]}'
 WHERE gid = 'of';
SET ROLE regress_dtm_buyer;
SELECT reason FROM dtm.attention WHERE gid = 'of';
RESET ROLE;
ROLLBACK;
