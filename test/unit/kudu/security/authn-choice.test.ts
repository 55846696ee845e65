import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KuduError } from '../../../../src/kudu/errors.ts';
import {
  afterFailure,
  choose,
  offeredTypes,
  type AfterFailure,
  type Answer,
  type Held,
} from '../../../../src/kudu/security/authn-choice.ts';
import type { AuthMode } from '../../../../src/kudu/security/options.ts';
import { RpcErrorCode, SecurityFault } from '../../../../src/kudu/status.ts';

const HELD: Held = { auth: 'auto', encryption: 'optional', kerberos: 'unknown', hasToken: false, hasJwt: false };
const held = (more: Partial<Held>): Held => ({ ...HELD, ...more });
const sasl = (...mechanisms: string[]): Answer => ({ hasTls: true, type: 'sasl', mechanisms });
const { NO_MECHANISM, NO_TICKET, NO_TLS, NOT_READY, UNTRUSTED_SERVER } = SecurityFault;

describe('what a client offers', () => {
  it('is all that it has, and with a JWT nothing else', () => {
    assert.deepEqual(offeredTypes(HELD), ['sasl']);
    assert.deepEqual(offeredTypes(held({ hasToken: true })), ['sasl', 'token']);
    assert.deepEqual(offeredTypes(held({ auth: 'jwt', hasJwt: true, hasToken: true })), ['jwt']);
  });
});

describe('how a client logs in', () => {
  /** By mode and ticket: what becomes of GSSAPI alone, PLAIN alone, both, neither. A number is the fault of a refusal. */
  type Row = readonly [gssapi: string | number, plain: string | number, both: string | number, none: string | number];
  const TABLE: Record<Exclude<AuthMode, 'jwt'>, Record<Held['kerberos'], Row>> = {
    auto: {
      ready: ['gssapi', 'plain', 'gssapi', NO_MECHANISM],
      unknown: ['look-for-ticket', 'plain', 'look-for-ticket', NO_MECHANISM],
      failed: [NO_TICKET, 'plain', NO_TICKET, NO_MECHANISM],
      absent: [NO_MECHANISM, 'plain', 'plain', NO_MECHANISM],
    },
    kerberos: {
      ready: ['gssapi', NO_MECHANISM, 'gssapi', NO_MECHANISM],
      unknown: ['look-for-ticket', NO_MECHANISM, 'look-for-ticket', NO_MECHANISM],
      failed: [NO_TICKET, NO_MECHANISM, NO_TICKET, NO_MECHANISM],
      absent: [NO_MECHANISM, NO_MECHANISM, NO_MECHANISM, NO_MECHANISM],
    },
    plain: {
      ready: [NO_MECHANISM, 'plain', 'plain', NO_MECHANISM],
      unknown: [NO_MECHANISM, 'plain', 'plain', NO_MECHANISM],
      failed: [NO_MECHANISM, 'plain', 'plain', NO_MECHANISM],
      absent: [NO_MECHANISM, 'plain', 'plain', NO_MECHANISM],
    },
  };
  const ANSWERS = [sasl('GSSAPI'), sasl('PLAIN'), sasl('PLAIN', 'GSSAPI'), sasl()];
  const outcome = (given: Held, answer: Answer): string | number => {
    const choice = choose(given, answer);
    return choice.do === 'refuse' ? choice.fault : choice.do;
  };
  for (const [auth, rows] of Object.entries(TABLE) as [Exclude<AuthMode, 'jwt'>, (typeof TABLE)['auto']][])
    for (const [kerberos, row] of Object.entries(rows) as [Held['kerberos'], Row][])
      it(`with ${auth} and a ticket that is ${kerberos}`, () => {
        assert.deepEqual(
          ANSWERS.map((answer) => outcome(held({ auth, kerberos }), answer)),
          row,
        );
        // A token that was offered and not taken changes nothing: the server has only just started.
        assert.deepEqual(
          ANSWERS.map((answer) => outcome(held({ auth, kerberos, hasToken: true }), answer)),
          row,
        );
      });

  it('takes the token that it offered, over TLS alone', () => {
    const given = held({ hasToken: true });
    assert.equal(outcome(given, { hasTls: true, type: 'token', mechanisms: [] }), 'token');
    assert.equal(outcome(given, { hasTls: false, type: 'token', mechanisms: [] }), NO_TLS);
    assert.equal(outcome(HELD, { hasTls: true, type: 'token', mechanisms: [] }), NO_MECHANISM);
    assert.equal(outcome(given, { hasTls: true, type: 'certificate', mechanisms: [] }), NO_MECHANISM);
  });

  it('gives a JWT to whoever takes one, and nothing to who does not yet', () => {
    const given = held({ auth: 'jwt', hasJwt: true });
    assert.equal(outcome(given, { hasTls: true, type: 'jwt', mechanisms: [] }), 'jwt');
    assert.equal(outcome(given, { hasTls: false, type: 'jwt', mechanisms: [] }), NO_TLS);
    for (const answer of ANSWERS) assert.equal(outcome(given, answer), NOT_READY);
  });

  it('refuses every server without TLS where nothing may go in the clear', () => {
    for (const auth of ['auto', 'kerberos', 'jwt', 'plain'] as const)
      for (const answer of ANSWERS)
        assert.equal(
          outcome(held({ auth, encryption: 'required', kerberos: 'ready' }), { ...answer, hasTls: false }),
          NO_TLS,
        );
    assert.equal(outcome(held({ auth: 'plain' }), { ...sasl('PLAIN'), hasTls: false }), 'plain');
  });
});

describe('after a failed negotiation', () => {
  const rpc = (code: number): KuduError => new KuduError('rpc', 'no', { code });
  const own = (code: number): KuduError => new KuduError('security', 'no', { code });
  const { ERROR_UNAVAILABLE, FATAL_INVALID_AUTHENTICATION_TOKEN, FATAL_INVALID_JWT, FATAL_UNAUTHORIZED } = RpcErrorCode;
  /** With a token, and without. */
  const CASES: [Error, AfterFailure, AfterFailure, string][] = [
    [rpc(FATAL_INVALID_AUTHENTICATION_TOKEN), 'renew-token', 'give-up', 'its time is over'],
    [rpc(ERROR_UNAVAILABLE), 'wait', 'give-up', 'signed with a key that the server has yet to hear of'],
    [rpc(FATAL_UNAUTHORIZED), 'give-up', 'give-up', 'not to be let in'],
    [rpc(FATAL_INVALID_JWT), 'give-up', 'give-up', 'whoever writes the file must'],
    [own(UNTRUSTED_SERVER), 'without-token', 'give-up', "not of the masters' CA: Kerberos proves it in another way"],
    [own(NOT_READY), 'wait', 'wait', 'a server that has only just started'],
    [own(NO_TLS), 'give-up', 'give-up', 'policy'],
    [own(NO_TICKET), 'give-up', 'give-up', 'the KDC'],
    [new KuduError('network', 'gone'), 'give-up', 'give-up', 'a matter of who calls'],
    [new Error('stopped'), 'give-up', 'give-up', 'a signal'],
  ];
  for (const [error, withToken, without, why] of CASES)
    it(`(${error.message} ${error instanceof KuduError ? `${error.kind} ${error.code}` : ''}): ${why}`, () => {
      assert.equal(afterFailure(error, held({ hasToken: true })), withToken);
      assert.equal(afterFailure(error, HELD), without);
    });
});
