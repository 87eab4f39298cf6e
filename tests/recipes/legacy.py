"""A program that nobody changes any more. It writes its tables and knows nothing of global transactions."""


def book(conn, room, guest):
    conn.execute("INSERT INTO booking (room, guest) VALUES (%s, %s)", [room, guest])
    conn.execute("UPDATE room SET free = free - 1 WHERE name = %s", [room])


def cancel(conn, room, guest):
    conn.execute("DELETE FROM booking WHERE room = %s AND guest = %s", [room, guest])
    conn.execute("UPDATE room SET free = free + 1 WHERE name = %s", [room])
