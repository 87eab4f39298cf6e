-- The table of service.py and service.js.
CREATE TABLE account (
    name text PRIMARY KEY,
    balance int NOT NULL CHECK (balance >= 0));

-- Gives to an account; takes where the amount is negative.
CREATE FUNCTION move(who text, amount int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account SET balance = balance + amount WHERE name = who;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no account %', who USING ERRCODE = 'TDF00';  -- refused for good
    END IF;
END $$;
