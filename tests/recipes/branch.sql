-- A procedure as a branch: action and compensation of taking pieces out of the stock.
CREATE TABLE stock (
    item text PRIMARY KEY,
    pieces int NOT NULL CHECK (pieces >= 0));

CREATE PROCEDURE reserve(trans_type text, gid text, branch_id text, op text, ordered jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    IF dtm_barrier(trans_type, gid, branch_id, op) THEN
        UPDATE stock
           SET pieces = pieces + (ordered->>'pieces')::int
                                 * CASE op WHEN 'action' THEN -1 ELSE 1 END
         WHERE item = ordered->>'item';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no item %', ordered->>'item' USING ERRCODE = 'TDF00';
        END IF;
    END IF;
END $$;
