-- dtm_step writes a step down.
SELECT dtm_step('http://a/');
SELECT dtm_step('http://a/', 'http://a/undo');
SELECT dtm_step('http://a/', 'http://a/undo', '{"amount": 30, "deep": [1, null, {"x": "y"}]}');
SELECT dtm_step('http://a/', payload => '"text"'), dtm_step('http://a/', payload => '1.50'),
       dtm_step('http://a/', payload => 'true'), dtm_step('http://a/', payload => '[]');
-- SQL's NULL is no payload, JSON's null is one.
SELECT dtm_step('http://a/', payload => NULL), dtm_step('http://a/', payload => 'null');
SELECT dtm_step('http://a/', after => '{0,1}'), dtm_step('', after => '{}');
SELECT * FROM refused($$SELECT dtm_step(NULL)$$);
