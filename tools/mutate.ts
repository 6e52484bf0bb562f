/**
 * npm run mutate [-- RULE|NAME …]: breaks one promise after the other and demands that its tests notice.
 *
 * Each patch of tools/mutations is applied to a copy of the tree, what it touches is built, and every test it names must
 * fail there within its time; without any mutation the same test must pass. Exits 1 when a mutation survives or no longer applies.
 */
import { fileURLToPath } from 'node:url';
import { killRunning } from './mutations/bounded.ts';
import {
  describeTest,
  type Mutation,
  type NamedTest,
  readMutations,
} from './mutations/mutation.ts';
import { Scratch } from './mutations/scratch.ts';

interface Row {
  readonly mutation: Mutation;
  readonly test: NamedTest;
  readonly result: 'caught' | 'survived' | 'too slow' | 'broken';
  readonly seconds: number;
  readonly details: string;
}

const tree = fileURLToPath(new URL('..', import.meta.url));
const mutations = readMutations(
  fileURLToPath(new URL('mutations', import.meta.url)),
  process.argv.slice(2),
);
const scratch = Scratch.of(tree);
process.once('exit', () => {
  killRunning();
  scratch.dispose();
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const passing = new Map<string, Promise<string | undefined>>();
const rows: Row[] = [];
for (const mutation of mutations) {
  for (const test of mutation.tests) {
    const row = await tryOut(mutation, test);
    rows.push(row);
    process.stdout.write(`${line(row)}\n`);
    if (row.result !== 'caught') process.stderr.write(`${row.details}\n`);
  }
}
const uncaught = rows.filter(({ result }) => result !== 'caught');
console.log(`${mutations.length} mutations, ${rows.length} tests, ${uncaught.length} uncaught`);
process.exit(uncaught.length === 0 ? 0 : 1);

async function tryOut(mutation: Mutation, test: NamedTest): Promise<Row> {
  const unfit = await (passing.get(describeTest(test)) ?? tryPristine(test));
  const started = Date.now();
  const row = (result: Row['result'], details: string): Row => {
    return { mutation, test, result, details, seconds: (Date.now() - started) / 1000 };
  };
  if (unfit !== undefined) return row('broken', unfit);
  try {
    const { verdict, output } = await scratch.runMutant(mutation, test);
    if (verdict === 'failed') return row('caught', '');
    return row(verdict === 'late' ? 'too slow' : 'survived', output);
  } catch (error) {
    return row('broken', `${error instanceof Error ? error.message : error}`);
  }
}

/** @returns why the test says nothing: it does not pass without a mutation */
function tryPristine(test: NamedTest): Promise<string | undefined> {
  const tried = scratch.runPristine(test).then(
    ({ verdict, output }) =>
      verdict === 'passed' ? undefined : `${verdict} without a mutation\n${output}`,
    (error: Error) => error.message,
  );
  passing.set(describeTest(test), tried);
  return tried;
}

function line({ mutation, test, result, seconds }: Row): string {
  const cells = [mutation.name.padEnd(34), result.padEnd(8), `${seconds.toFixed(0)} s`.padStart(6)];
  return `${cells.join('  ')}  ${describeTest(test)}`;
}
