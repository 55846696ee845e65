import { waitFor } from '../../util/wait-for.ts';
import type { KafkaCluster } from './cluster.ts';
import type { Api } from './wire/api.ts';

/** What a step of a transaction needs of the cluster. */
export type RequestSender = Pick<KafkaCluster, 'send'>;

/**
 * Sends as the cluster does, and knows what it sent and whose answer has not come. Whoever sent something waits only as
 * long as he likes; the request is on the wire all the same.
 */
export class OnTheWire implements RequestSender {
  readonly #cluster: Pick<KafkaCluster, 'request'>;
  readonly #underWay = new Set<Promise<unknown>>();
  #isLost = false;
  #isClosed = false;

  constructor(cluster: Pick<KafkaCluster, 'request'>) {
    this.#cluster = cluster;
  }

  async send<Q, S>(nodeId: number, channel: number, api: Api<Q, S>, request: Q, signal: AbortSignal): Promise<S> {
    if (this.#isClosed) throw new Error('the transaction is given up');
    let isSent = false;
    const answer = this.#cluster.request(nodeId, channel, api, request, signal, () => {
      isSent = true;
    });
    this.#underWay.add(answer);
    answer.then(
      () => this.#underWay.delete(answer),
      () => {
        this.#underWay.delete(answer);
        if (isSent) this.#isLost = true;
      },
    );
    return waitFor(answer, signal);
  }

  /**
   * Sends nothing from now on, and resolves when nothing is under way any more. `lost`: of some request nobody knows whether the broker has it, or will
   * take it up yet. A socket that fell silent or broke leaves behind what the broker has read from it and not worked on.
   */
  async close(): Promise<'answered' | 'lost'> {
    this.#isClosed = true; // a step may be about to ask again
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    return this.#isLost ? 'lost' : 'answered';
  }
}
