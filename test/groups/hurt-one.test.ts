// One cluster for all of these, one after the other: each hurts it and heals it (support/leased-cluster.ts).
import '../integration/damaged-log.test.ts';
import '../integration/verify.test.ts';
import '../integration/outages.test.ts';
