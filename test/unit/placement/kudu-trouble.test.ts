import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KuduTrouble } from '../../../src/placement/kudu-trouble.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';

describe('trouble with Kudu', () => {
  it('tells each reason once until Kudu answers, also when they take turns', () => {
    const lines: LogLine[] = [];
    const trouble = new KuduTrouble(keepingLogger(lines));
    for (const reason of ['refused', 'no right', 'refused', 'no right']) trouble.begin(reason);
    assert.equal(trouble.now, 'no right');
    trouble.end();
    trouble.end();
    trouble.begin('refused');
    assert.deepEqual(
      lines.map(({ message, fields }) => ('reason' in fields ? fields.reason : message)),
      ['refused', 'no right', 'kudu answers', 'refused'],
    );
  });

  it('does not fill the log with reasons that differ each time', () => {
    const lines: LogLine[] = [];
    const trouble = new KuduTrouble(keepingLogger(lines));
    for (let ms = 0; ms < 1000; ms++) trouble.begin(`no answer after ${ms} ms`);
    assert.equal(lines.length, 20);
    assert.equal(trouble.now, 'no answer after 999 ms');
  });
});
