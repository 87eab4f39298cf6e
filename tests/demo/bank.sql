-- What an application adds to its database. Two banks hold the accounts, each behind its own HTTP
-- service; this database holds the transfers.
CREATE EXTENSION dtm_pg;

CREATE TABLE bank (name text PRIMARY KEY, url text NOT NULL);

CREATE TABLE transfer (
    gid    text PRIMARY KEY,
    payer  text NOT NULL,
    payee  text NOT NULL,
    amount integer NOT NULL
);

-- A third bank has its accounts here.
CREATE TABLE account (owner text PRIMARY KEY, balance integer NOT NULL CHECK (balance >= 0));
INSERT INTO account VALUES ('eve', 100);

-- Takes the money at one bank and brings it to the other. The row and the order to call both banks
-- are one commit: either both exist or neither does. Nobody is called before the commit.
CREATE PROCEDURE transfer(payer text, payee text, amount integer, INOUT gid text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    north text := (SELECT url FROM bank WHERE name = 'north');
    south text := (SELECT url FROM bank WHERE name = 'south');
BEGIN
    gid := dtm_submit('saga', ARRAY[
        --       do this            undo it so              with this body
        dtm_step(north || '/out', north || '/out_undo', jsonb_build_object('account', payer,
                                                                           'amount', amount)),
        dtm_step(south || '/in',  south || '/in_undo',  jsonb_build_object('account', payee,
                                                                           'amount', amount))]);
    INSERT INTO transfer VALUES (gid, payer, payee, amount);
END
$$;
