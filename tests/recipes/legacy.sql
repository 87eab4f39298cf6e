-- The tables of legacy.py, and all that is done to protect it.
CREATE TABLE room (
    name text PRIMARY KEY,
    free int NOT NULL CHECK (free >= 0));
CREATE TABLE booking (
    room text NOT NULL REFERENCES room,
    guest text NOT NULL,
    PRIMARY KEY (room, guest));

-- true: who writes without a branch gets an error (TD006).
SELECT dtm_protect('room', true), dtm_protect('booking', true);
