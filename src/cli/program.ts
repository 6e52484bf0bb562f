/**
 * The grammar: `varve NOUN VERB TARGET`, as cli.md writes it down. A test pins it.
 */
import { Command, Option } from 'commander';
import { version } from '../base/version.ts';
import { addBackupNoun } from './nouns/backup.ts';
import { addClientNoun } from './nouns/client.ts';
import { addDiskNoun } from './nouns/disk.ts';
import { addExportNoun } from './nouns/export.ts';
import { addGuestDiskVerbs } from './nouns/guest-disk.ts';
import { addImageNoun } from './nouns/image.ts';
import { addOperationNoun } from './nouns/operation.ts';
import { addPoolNoun } from './nouns/pool.ts';
import { addServiceVerbs } from './nouns/service.ts';
import { addSnapshotNoun } from './nouns/snapshot.ts';
import { addVolumeNoun } from './nouns/volume.ts';

export function buildProgram(): Command {
  const program = new Command('varve')
    .description('Pools of backing disks, thin volumes, NBD exports for virtual machines.')
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .configureHelp({ showGlobalOptions: true })
    // Errors are written once, in our form, by run.ts.
    .configureOutput({ writeErr: (text) => process.stderr.write(isError(text) ? '' : text) })
    .exitOverride();
  addGlobalOptions(program);
  addServiceVerbs(program);
  addPoolNoun(program);
  addDiskNoun(program);
  addVolumeNoun(program);
  addSnapshotNoun(program);
  addExportNoun(program);
  addClientNoun(program);
  addGuestDiskVerbs(program);
  addImageNoun(program);
  addBackupNoun(program);
  addOperationNoun(program);
  return program;
}

function addGlobalOptions(program: Command): void {
  program
    .option('--server <address>', 'unix:PATH or http://HOST:PORT (default: VARVE_SERVER)')
    .addOption(
      new Option('-o, --output <format>', 'how to write what is found')
        .choices(['table', 'wide', 'json', 'name'])
        .default('table'),
    )
    .option('-p, --exact', 'sizes in bytes')
    .option('-H, --no-header', 'no header, tabs between columns')
    .option('-q, --quiet', 'no talk on stderr')
    .option('-n, --dry-run', 'make every check, say what would happen, do nothing')
    .option('-y, --yes', 'do not ask where data is lost')
    .addOption(new Option('--wait', 'wait for long work').default(true))
    .option('--no-wait', 'print the id of the operation instead')
    .option('--timeout <duration>', 'wait no longer than that (30s, 5m); the operation goes on')
    .addOption(
      new Option('--progress <mode>', 'json: lines on stderr; none').choices(['json', 'none']),
    );
}

/** Commander writes its own errors through the same door as help that was not asked for. */
function isError(text: string): boolean {
  return text.startsWith('error:');
}
