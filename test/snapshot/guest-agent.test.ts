// Goal: a guest is frozen for no longer than the work takes, thawed whatever happens, and never called quiesced when
//   it was not.
// Method: a scripted agent on a real unix socket; every test looks at the error, at the commands the agent saw and
//   at whether its guest is frozen afterwards.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { StorageError } from '../../src/base/errors.ts';
import { type FrozenGuest, withFrozenGuest } from '../../src/snapshot/guest-agent.ts';
import { type Command, FakeAgent, filesystems, type Script } from './fake-agent.ts';

let agent: FakeAgent;
afterEach(() => agent.close());

const silence: Script = () => {};
const closing: Script = (_agent, socket) => socket.destroy();
const freezeThenSilence: Script = (of) => of.setFrozen(filesystems);

async function startAgent(scripts: Partial<Record<Command, Script>> = {}): Promise<FakeAgent> {
  agent = new FakeAgent(scripts);
  return agent.listen();
}

function quiesce<T>(
  work: (guest: FrozenGuest) => Promise<T>,
  options: { timeoutMs?: number; thawTimeoutMs?: number; signal?: AbortSignal } = {},
): Promise<T> {
  return withFrozenGuest(
    { socket: agent.path, timeoutMs: 5000, thawTimeoutMs: 5000, ...options },
    work,
  );
}

/** The error of a freeze that must fail; `work` must not run unless one is given. */
async function failure(
  options: Parameters<typeof quiesce>[1] = {},
  work: (guest: FrozenGuest) => Promise<unknown> = () =>
    Promise.reject(new Error('the work ran in a guest that is not frozen')),
): Promise<StorageError> {
  const error = await quiesce(work, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StorageError);
  const { code, actions } = error as StorageError;
  expect(code).toBe('snapshot/quiesce');
  expect(actions).not.toEqual([]);
  return error as StorageError;
}

/** Work that notes whether the guest was frozen from its beginning to its end. */
async function watchedWork(guest: FrozenGuest): Promise<string> {
  const before = agent.frozen;
  await delay(20);
  return `${guest.filesystems} told, ${before} and ${agent.frozen} frozen`;
}
const watched = '3 told, 3 and 3 frozen';

function thaws(): number {
  return agent.commands.filter((command) => command === 'guest-fsfreeze-thaw').length;
}

test('work runs while the guest is frozen, then it is thawed', async () => {
  await startAgent();
  expect(await quiesce(watchedWork)).toBe(watched);
  expect(agent.frozen).toBe(0);
  expect(agent.commands).toEqual([
    'guest-sync-delimited',
    'guest-fsfreeze-status',
    'guest-fsfreeze-freeze',
    'guest-sync-delimited',
    'guest-fsfreeze-thaw',
  ]);
});

test('answers may come byte by byte', async () => {
  await startAgent();
  let last = Promise.resolve();
  agent.send = (socket, answer) => {
    for (const byte of answer) {
      last = last.then(async () => {
        socket.write(Buffer.of(byte));
        await delay(1);
      });
    }
  };
  expect(await quiesce(watchedWork)).toBe(watched);
});

test('answers may come joined, with messages between them that nobody knows', async () => {
  await startAgent();
  const held: Buffer[] = [];
  agent.send = (socket, answer) => {
    held.push(Buffer.from('{"event":"GUEST_PANICKED"}\n[1]\nnoise\n\n'), answer);
    if (agent.commands.at(-1) !== 'guest-sync-delimited' || agent.frozen === 0) {
      socket.write(Buffer.concat(held.splice(0)));
    }
  };
  expect(await quiesce(watchedWork)).toBe(watched);
});

test.each([
  ['an unfinished line', '{"return": 7'],
  ['answers to somebody else', '{"return": {}}\n{"return":"frozen"}\n{"error":{"desc":"old"}}\n'],
  ['a synchronization of somebody else', '\xff{"return": 12}\n'],
  ['more than is worth keeping', `{"return":"${'x'.repeat(300_000)}`],
])('%s before the synchronization changes nothing', async (_what, stale) => {
  await startAgent();
  agent.stale = Buffer.from(stale, 'latin1');
  expect(await quiesce(watchedWork)).toBe(watched);
});

test('an answer that is too long is none', async () => {
  await startAgent({
    'guest-fsfreeze-status': (of, socket) => of.answer(socket, { return: 'x'.repeat(100_000) }),
  });
  expect((await failure({ timeoutMs: 200 })).message).toContain('no answer within 0.2 s');
});

test('nobody listens', async () => {
  (await startAgent()).stopListening();
  const error = await failure();
  expect(error.message).toMatch(/agent\.sock.*ENOENT/);
  expect(error.cause).toBeInstanceOf(Error);
});

test.each(['guest-sync-delimited', 'guest-fsfreeze-status'] as const)(
  'silence after %s: nothing is asked to freeze',
  async (command) => {
    await startAgent({ [command]: silence });
    expect((await failure({ timeoutMs: 200 })).message).toContain('no answer within 0.2 s');
    expect(agent.commands).not.toContain('guest-fsfreeze-freeze');
  },
);

test.each(['guest-sync-delimited', 'guest-fsfreeze-status'] as const)(
  'a connection closed after %s: nothing is asked to freeze',
  async (command) => {
    await startAgent({ [command]: closing });
    expect((await failure()).message).toContain('the connection was closed');
    expect(agent.commands).not.toContain('guest-fsfreeze-freeze');
  },
);

test('a guest that somebody else froze is left as it is', async () => {
  await startAgent();
  agent.setFrozen(filesystems);
  expect((await failure()).message).toContain('frozen already');
  expect(agent.frozen).toBe(filesystems);
  expect(thaws()).toBe(0);
});

test('a refused freeze is told in the words of the agent; what it froze half way is thawed', async () => {
  await startAgent({
    'guest-fsfreeze-freeze': (of, socket) => {
      of.setFrozen(1);
      of.refuse(socket, 'failed to freeze /srv: Input/output error');
    },
  });
  expect((await failure()).message).toContain('failed to freeze /srv: Input/output error');
  expect(agent.frozen).toBe(0);
});

test('a freeze that is disabled never ran: somebody else may have frozen the guest meanwhile', async () => {
  await startAgent({
    'guest-fsfreeze-freeze': (of, socket) => {
      of.setFrozen(filesystems);
      of.refuse(socket, 'Command guest-fsfreeze-freeze has been disabled', 'CommandNotFound');
    },
  });
  expect((await failure()).message).toContain('has been disabled');
  expect(agent.frozen).toBe(filesystems);
});

test('a guest without anything to freeze is not quiesced', async () => {
  await startAgent({ 'guest-fsfreeze-freeze': (of, socket) => of.answer(socket, { return: 0 }) });
  expect((await failure()).message).toContain('no filesystem');
  expect(thaws()).toBe(1);
});

test('a freeze that is not answered in time is thawed', async () => {
  await startAgent({ 'guest-fsfreeze-freeze': freezeThenSilence });
  expect((await failure({ timeoutMs: 200 })).message).toContain('no answer within 0.2 s');
  expect(agent.frozen).toBe(0);
});

test('the late answer of a freeze is not taken for that of the thaw', async () => {
  await startAgent({
    'guest-fsfreeze-freeze': freezeThenSilence,
    'guest-fsfreeze-thaw': (of, socket) => {
      of.answer(socket, { error: { class: 'GenericError', desc: 'cannot thaw' } });
    },
  });
  const { send } = agent;
  agent.send = (socket, answer) => {
    const late = agent.frozen > 0 && agent.commands.at(-1) === 'guest-sync-delimited';
    send(socket, late ? Buffer.concat([Buffer.from('{"return": 3}\n'), answer]) : answer);
  };
  const error = await failure({ timeoutMs: 200 });
  expect(error.message).toMatch(/may still be frozen.*cannot thaw.*no answer within 0.2 s/);
});

test('a connection closed by the freeze is made anew to thaw', async () => {
  await startAgent({
    'guest-fsfreeze-freeze': (of, socket) => {
      of.setFrozen(filesystems);
      socket.destroy();
    },
  });
  expect((await failure()).message).toContain('the connection was closed');
  expect(agent.frozen).toBe(0);
});

test('a connection closed while work runs is made anew to thaw; the freeze held', async () => {
  let opened: (() => void) | undefined;
  await startAgent({
    'guest-fsfreeze-freeze': (of, socket) => {
      of.answer(socket, { return: of.setFrozen(filesystems) });
      opened = () => socket.destroy();
    },
  });
  const result = await quiesce(async (guest) => {
    opened?.();
    return watchedWork(guest);
  });
  expect(result).toBe(watched);
  expect(agent.frozen).toBe(0);
});

test('a guest that cannot be reached again may still be frozen, and that is said', async () => {
  await startAgent({
    'guest-fsfreeze-thaw': (of, socket) => {
      of.stopListening();
      socket.destroy();
    },
  });
  const error = await failure({ thawTimeoutMs: 300 }, watchedWork);
  expect(error.message).toContain('may still be frozen');
  expect(error.actions.join()).toContain('virsh domfsthaw');
});

test('a thaw that is not answered ends in time', async () => {
  await startAgent({ 'guest-fsfreeze-thaw': silence });
  const error = await failure({ thawTimeoutMs: 200 }, watchedWork);
  expect(error.message).toMatch(/may still be frozen.*no answer within 0.2 s/);
});

test('work that throws: the guest is thawed and the error is its own', async () => {
  await startAgent();
  const own = new Error('pool is full');
  await expect(quiesce(() => Promise.reject(own))).rejects.toBe(own);
  await expect(
    quiesce(() => {
      throw own;
    }),
  ).rejects.toBe(own);
  expect(thaws()).toBe(2);
  expect(agent.frozen).toBe(0);
});

test('work that throws and a guest that does not thaw: both are told', async () => {
  await startAgent({ 'guest-fsfreeze-thaw': (of, socket) => of.refuse(socket, 'no way') });
  const error = await failure({}, () => Promise.reject(new Error('pool is full')));
  expect(error.message).toMatch(/may still be frozen.*no way.*pool is full/);
});

test('when the time is over while work runs, the guest is thawed at once', async () => {
  await startAgent();
  let frozenAfterwards: number | undefined;
  const error = await failure({ timeoutMs: 300 }, async ({ signal }) => {
    while (!signal.aborted) await delay(10);
    await delay(200);
    frozenAfterwards = agent.frozen;
  });
  expect(error.message).toContain('thawed before the work had ended');
  expect(frozenAfterwards).toBe(0);
});

test.each([0, 2])('a guest of which %i filesystems stayed frozen is not quiesced', async (left) => {
  await startAgent();
  const error = await failure({}, async () => agent.setFrozen(left));
  expect(error.message).toContain(`${left} of 3 filesystems were still frozen`);
});

test('a caller who gives up gets the reason back when the guest is thawed', async () => {
  await startAgent();
  const stop = new AbortController();
  const reason = new StorageError('service/stopping', 'the service is stopping');
  const ended = quiesce(
    async ({ signal }) => {
      stop.abort(reason);
      expect(signal.aborted).toBe(true);
    },
    { signal: stop.signal },
  );
  await expect(ended).rejects.toBe(reason);
  expect(agent.frozen).toBe(0);
});
