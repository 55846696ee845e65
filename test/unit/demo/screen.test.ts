import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { Screen } from '../../../src/demo/screen.ts';

class Paper extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 40;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

describe('demo screen', () => {
  it('rewrites the status in place on a terminal and keeps it below the lines', () => {
    const paper = new Paper(true);
    const screen = new Screen(paper);
    screen.status('one', 0);
    screen.status('two', 1);
    screen.line('kept');
    screen.keepStatus();
    screen.line('end');
    assert.equal(paper.text, 'one\r\x1b[Ktwo\r\x1b[Kkept\ntwo\nend\n');
  });

  it('cuts a status that would wrap, since a wrapped one cannot be taken back', () => {
    const paper = new Paper(true);
    new Screen(paper).status('x'.repeat(100), 0);
    assert.equal(paper.text.length, 39);
  });

  it('prints the status as plain lines elsewhere, one every five seconds', () => {
    const paper = new Paper(false);
    const screen = new Screen(paper);
    for (let second = 0; second <= 10; second++) screen.status(`at ${second}`, second * 1_000);
    screen.line('kept');
    assert.equal(paper.text, 'at 0\nat 5\nat 10\nkept\n');
  });
});
