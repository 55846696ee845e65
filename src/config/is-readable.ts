/** Whether OpenSSL makes something of a certificate or key: it says that by throwing, in words that nobody wants to read. */
export function isReadable(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}
