// For tests in which two processes of one machine stand for two hosts: a lock of one host is unknown to the other.
// Built and preloaded by two-hosts.ts.
int flock(int fd, int operation) {
  (void)fd;
  (void)operation;
  return 0;
}
