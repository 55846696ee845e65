import assert from 'node:assert/strict';
import { rootCertificates } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { SignedTokenPBSchema, TokenPBSchema, type SignedTokenPB } from '../../../../src/kudu/proto/rpc_pb.ts';
import { ClusterTrust } from '../../../../src/kudu/security/cluster-trust.ts';

const WALL_MS = 1_800_000_000_000;
const NOW_MS = 5_000;

function token(leftS: number, username = 'spoor'): SignedTokenPB {
  const expireUnixEpochSeconds = BigInt(WALL_MS / 1000 + leftS);
  const tokenData = toBinary(TokenPBSchema, create(TokenPBSchema, { expireUnixEpochSeconds, authn: { username } }));
  return create(SignedTokenPBSchema, { tokenData });
}

describe('what the leading master says', () => {
  it('takes the place of what was said before, and a part that is not said leaves the other', () => {
    const trust = new ClusterTrust();
    const [first, second] = rootCertificates.slice(0, 2).map((pem) => new X509Certificate(pem));
    trust.adopt({ caCertDer: [first!.raw], authnToken: token(20) }, NOW_MS, WALL_MS);
    const known = trust.token!;
    assert.deepEqual([known.user, known.renewAtMs, known.endsAtMs], ['spoor', NOW_MS + 15_000, NOW_MS + 20_000]);
    trust.adopt({ caCertDer: [second!.raw] }, NOW_MS, WALL_MS);
    assert.deepEqual(
      trust.caPems.map((pem) => new X509Certificate(pem).fingerprint256),
      [second!.fingerprint256],
    );
    assert.equal(trust.token, known, 'asked by a token it gives none');
    trust.adopt({ caCertDer: [], authnToken: token(30) }, NOW_MS, WALL_MS);
    assert.notEqual(trust.token, known);
    trust.drop(known);
    assert.equal(trust.token.endsAtMs, NOW_MS + 30_000, 'the one that was refused is not the one in hand');
    trust.drop(trust.token);
    assert.equal(trust.token, null);
  });

  it('is believed where the clocks differ so much that a new token seems to be over', () => {
    const trust = new ClusterTrust();
    trust.adopt({ caCertDer: [], authnToken: token(-3600) }, NOW_MS, WALL_MS);
    assert.deepEqual([trust.token!.renewAtMs, trust.token!.endsAtMs], [Infinity, Infinity]);
  });
});
