import { AnswerProxy } from './answer-proxy.ts';

/** A TCP proxy on loopback that can let a request through and cut the connection before its answer is back. */
export class CuttingProxy extends AnswerProxy {
  /** Asked with every answer: whether to cut the connection in its place. */
  cuts: (answer: Buffer) => boolean = () => false;
  cut = 0;

  private constructor(port: number) {
    super({ host: '127.0.0.1', port }, () => (bytes, client) => {
      if (!this.cuts(bytes)) {
        client.write(bytes);
        return;
      }
      this.cut++;
      client.destroy();
    });
  }

  static async start(port: number): Promise<CuttingProxy> {
    return new CuttingProxy(port).listen();
  }
}
