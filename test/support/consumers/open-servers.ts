/** Servers of a test, closed in the opposite order of their opening. (Node 20 has no AsyncDisposableStack.) */
export class OpenServers implements AsyncDisposable {
  readonly #open: (AsyncDisposable | Disposable)[] = [];

  use<T extends AsyncDisposable | Disposable>(server: T): T {
    this.#open.push(server);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#open.splice(0).reverse())
      if (Symbol.asyncDispose in server) await server[Symbol.asyncDispose]();
      else server[Symbol.dispose]();
  }
}
