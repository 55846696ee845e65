/** Takes the lock of a file, says so and waits to be killed: see test/unit/keeping/hold-owner.test.ts. */
import { FileLock } from '../../src/util/file-lock.ts';

const lock = FileLock.take(process.argv[2]!, '{}');
process.stdout.write(lock === null ? 'taken\n' : 'locked\n');
setInterval(() => lock, 60_000);
