// Another cluster, beside that of hurt-one.test.ts.
import '../integration/base-copy.test.ts';
import '../integration/dropped-tablets.test.ts';
import '../integration/ten-cases.test.ts';
import '../integration/resolved-marks.test.ts';
import '../integration/resync.test.ts';
import '../integration/docs-at-work.test.ts';
