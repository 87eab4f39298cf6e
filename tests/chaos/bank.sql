-- What a bank of the chaos run keeps: its accounts, and a row for every effect, in one transaction.
-- No unique key on effect: that an operation had its effect twice must be seen, not prevented.
CREATE TABLE account (name text PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE effect (
  id         bigserial PRIMARY KEY,
  gid        text NOT NULL,
  branch_id  text NOT NULL,
  op         text NOT NULL,
  amount     bigint NOT NULL
);
INSERT INTO account SELECT 'a' || n, 100000 FROM generate_series(0, 9) n;

-- The business: moves money, or refuses after it has done so.
CREATE FUNCTION move(gid text, branch_id text, op text, account text, amount bigint, refuse boolean)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE account a SET balance = a.balance + move.amount WHERE a.name = move.account;
  INSERT INTO effect (gid, branch_id, op, amount)
    VALUES (move.gid, move.branch_id, move.op, move.amount);
  IF refuse THEN
    RAISE EXCEPTION 'refused' USING ERRCODE = 'TDF00';
  END IF;
END $$;
