// See join.c.
enum { JOIN_FD = 5 };
void stowage_join(void);
