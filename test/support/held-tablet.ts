import { join } from 'node:path';
import { HoldStore } from '../../src/wal/hold-store.ts';
import { identify } from '../../src/wal/log-folder.ts';
import type { TabletHold } from '../../src/wal/tablet-hold.ts';
import { FakeTablet } from './fake-tablet.ts';
import { keepingLogger, type LogLine } from './loggers.ts';
import { TEST_TABLET } from './segment-bytes.ts';

/** A tablet, and what is held of it. */
export class HeldTablet implements Disposable {
  readonly tablet = new FakeTablet();
  readonly dir = join(this.tablet.walDir, 'spoor-hold');
  readonly lines: LogLine[] = [];
  store = this.open();
  hold: TabletHold = this.store.enable(TEST_TABLET);

  open(): HoldStore {
    return HoldStore.open({ dir: this.dir, walDir: this.tablet.walDir, logger: keepingLogger(this.lines) });
  }

  /** Spoor ended and began again. */
  reopen(): void {
    this.store = this.open();
    this.hold = this.store.enable(TEST_TABLET);
  }

  link(): boolean {
    const { folder, numbers } = this.tablet;
    return this.hold.link(identify(folder)!, folder, numbers);
  }

  /** `own-1: 1 2`, in the order of reading. */
  get held(): string[] {
    return this.hold
      .incarnations()
      .map(({ name, segments }) => `${name}: ${segments.map((s) => s.sequenceNumber).join(' ')}`);
  }

  /** A segment of so many operations, closed by the next one's birth. */
  fill(operations: number): void {
    for (let i = 0; i < operations; i++) this.tablet.append();
    this.tablet.roll();
  }

  [Symbol.dispose](): void {
    this.tablet[Symbol.dispose]();
  }
}
