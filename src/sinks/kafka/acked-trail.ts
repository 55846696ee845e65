import { isAhead, type TabletPosition } from '../../change/position.ts';
import type { ProducerIdentity } from './wire/api.ts';

type Epoch = Pick<ProducerIdentity, 'producerId' | 'epoch'>;

/**
 * What the writers of one tablet in this process have had acknowledged, although the position in Kafka may not say so yet:
 * whoever follows goes on from there, as long as nobody else's producer can have come between. Epochs are given out one
 * by one, so that shows in their numbers, however many of ours came to nothing.
 */
export class AckedTrail {
  #last: { readonly position: TabletPosition | null; readonly by: Epoch } | null = null;

  /** The next epoch was given out, to us. */
  opened(by: Epoch): void {
    const position = this.#last && follows(by, this.#last.by) ? this.#last.position : null;
    this.#last = { position, by };
  }

  /** A writer of this epoch had everything up to `position` acknowledged. */
  acked(position: TabletPosition, by: Epoch): void {
    this.#last = { position, by };
  }

  /** Where the writer of this epoch goes on, if that is ahead of what Kafka says; else null. */
  beyond(committed: TabletPosition | null, by: Epoch): TabletPosition | null {
    const last = this.#last;
    if (last?.position == null || !isSame(last.by, by)) return null;
    return isAhead(last.position, committed) ? last.position : null;
  }
}

function follows(now: Epoch, before: Epoch): boolean {
  return now.producerId === before.producerId && now.epoch === before.epoch + 1;
}

function isSame(a: Epoch, b: Epoch): boolean {
  return a.producerId === b.producerId && a.epoch === b.epoch;
}
