// Goal: a soak's verdict finds what grows without end, and nothing in what only goes up and down.
// Method: figures made up for the purpose.
import { expect, test } from 'vitest';
import { type Figures, judge, type Sample } from '../../tools/soak/verdict.ts';

const MiB = 1024 * 1024;

function samples(
  count: number,
  vitals: (at: number) => { mib?: number; descriptors?: number; pid?: number },
): Sample[] {
  return Array.from({ length: count }, (_, at) => {
    const { mib = 150, descriptors = 40, pid = 1 } = vitals(at);
    return { seconds: at, pid, residentBytes: mib * MiB, descriptors };
  });
}

function failed(figures: Partial<Figures>): string[] {
  const whole = { samples: [], startsMs: [], violations: [], done: {}, ...figures };
  return judge(whole)
    .filter(({ ok }) => !ok)
    .map(({ name }) => name);
}

test('a violation is enough', () => {
  expect(failed({ violations: ['block 3 is gone'] })).toEqual([
    'nothing lost, refused or found wrong',
  ]);
});

test('memory that grows all the time is found', () => {
  expect(failed({ samples: samples(300, (at) => ({ mib: 150 + 2 * at })) })).toEqual([
    'resident memory',
  ]);
});

test('memory that goes up and down, or is taken while warming up, is not', () => {
  const unrest = samples(300, (at) => ({ mib: 150 + (at % 50) * 6 }));
  const warming = samples(300, (at) => ({ mib: Math.min(400, 100 + 4 * at) }));
  expect(failed({ samples: unrest })).toEqual([]);
  expect(failed({ samples: warming })).toEqual([]);
});

test('descriptors that are never closed are found, connections that come and go are not', () => {
  const leaking = samples(300, (at) => ({ descriptors: 40 + at }));
  const busy = samples(300, (at) => ({ descriptors: 40 + (at % 10) * 20 }));
  expect(failed({ samples: leaking })).toEqual(['open descriptors']);
  expect(failed({ samples: busy })).toEqual([]);
});

test('only the last process is judged: an earlier one took its memory with it', () => {
  const killed = samples(300, (at) => (at < 150 ? { mib: 150 + 5 * at, pid: 1 } : { pid: 2 }));
  expect(failed({ samples: killed })).toEqual([]);
});

test('a life that was too short is not judged', () => {
  const [, memory] = judge({
    samples: samples(20, (at) => ({ mib: 150 + 100 * at })),
    startsMs: [],
    violations: [],
    done: {},
  });
  expect(memory).toMatchObject({ ok: true, found: 'too short a life to judge' });
});

test('starts that take longer and longer are found', () => {
  const longer = Array.from({ length: 20 }, (_, at) => 1000 + 3000 * at);
  expect(failed({ startsMs: longer })).toEqual([]);
  expect(failed({ startsMs: longer.map((ms) => ms ** 1.2) })).toEqual(['start to serving']);
});
