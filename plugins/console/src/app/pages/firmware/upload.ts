import { HttpClient, HttpEventType } from '@angular/common/http';
import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  inject,
  model,
  output,
  signal,
  untracked,
} from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { MatSelectModule } from '@angular/material/select';
import { RouterLink } from '@angular/router';
import { mdiTrayArrowUp } from '@mdi/js';
import { Subscription } from 'rxjs';
import { ApiError } from '../../core/api';
import { CHIP_NAMES } from '../../core/chips';
import { bytes, count } from '../../core/format';
import { Firmware } from '../../core/models';
import { Icon } from '../../ui/icon';
import { Problem } from '../../ui/notice';
import { makeDemoImage } from './demo-image';
import { ImageHeader, readFile, revision } from './image';

interface Uploaded {
  firmware: Firmware;
  ignored: { field: string; message: string }[];
  /** Whether it was there before. */
  known: boolean;
}

/** Which check the image failed, and where. */
interface Refusal {
  field: string;
  message: string;
  check?: string;
  offset?: number;
}

/** Takes an image: dropped, chosen, or made here; shows what it says of itself, and uploads it. */
@Component({
  selector: 'otad-upload',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    FormsModule,
    Icon,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatProgressBarModule,
    MatSelectModule,
    Problem,
    RouterLink,
  ],
  templateUrl: './upload.html',
  styleUrl: './upload.scss',
})
export class Upload {
  private readonly http = inject(HttpClient);
  private sending: Subscription | undefined;

  /** Set from outside, too: a file that was dropped somewhere on the page. */
  readonly file = model<File | null>(null);
  readonly uploaded = output<Firmware>();
  readonly closed = output();

  protected readonly icon = mdiTrayArrowUp;
  protected readonly chips = CHIP_NAMES;
  protected readonly canMake = window.isSecureContext;
  protected readonly size = bytes;
  protected readonly revision = revision;
  protected readonly header = signal<ImageHeader | null>(null);
  protected readonly refusal = signal<string | null>(null);
  protected readonly version = signal('');
  protected readonly notes = signal('');
  protected readonly signature = signal('');
  /** Bytes sent; null: nothing is being sent. */
  protected readonly sent = signal<number | null>(null);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly result = signal<Uploaded | null>(null);
  protected readonly demoChip = signal('esp32');
  protected readonly demoVersion = signal('1.0.0');

  protected readonly share = computed(() => {
    const total = this.file()?.size ?? 0;
    return total ? Math.min(100, Math.round(((this.sent() ?? 0) / total) * 100)) : 0;
  });
  protected readonly wrong = computed(() => {
    const error = this.error();
    const fields = new Map(error?.errors.map(({ field, message }) => [field, message]));
    return {
      version: fields.get('version') ?? (error?.status === 409 ? error.message : undefined),
      notes: fields.get('notes'),
      signature: fields.get('signature'),
    };
  });
  /** What does not stand at a field. */
  protected readonly problem = computed(() => {
    const error = this.error();
    if (!error || Object.values(this.wrong()).some((message) => message)) return null;
    if (error.status === 413) return new ApiError(413, 'The image is larger than this server takes.');
    const file = error.errors.find(({ field }) => field === 'file') as Refusal | undefined;
    if (!file) return error;
    if (!file.check) return new ApiError(error.status, `The file ${file.message}.`);
    const what = file.message.replace(`${file.check}: `, '').replace(/ \(at byte \d+\)$/, '');
    return new ApiError(
      error.status,
      `The server refused the image. Check “${file.check}” failed at byte ${count(file.offset ?? 0)}: ${what}.`,
    );
  });

  constructor() {
    effect(() => {
      const file = this.file();
      untracked(() => this.look(file));
    });
    inject(DestroyRef).onDestroy(() => this.sending?.unsubscribe());
  }

  private async look(file: File | null): Promise<void> {
    this.cancel();
    this.header.set(null);
    this.refusal.set(null);
    this.error.set(null);
    if (!file) return;
    this.result.set(null);
    this.version.set('');
    const reading = await readFile(file);
    if (this.file() !== file) return;
    if ('header' in reading) this.header.set(reading.header);
    else this.refusal.set(reading.problem);
  }

  protected choose(input: HTMLInputElement): void {
    this.file.set(input.files?.[0] ?? null);
    input.value = ''; // the same file can be chosen again once it is built anew
  }

  protected async makeDemo(): Promise<void> {
    const image = { chip: this.demoChip(), version: this.demoVersion().trim() || '1.0.0', project: 'demo' };
    const file = new File([await makeDemoImage(image)], `demo-${image.version}-${image.chip}.bin`);
    this.notes.set('Made in the console; for simulated devices.');
    this.signature.set('');
    this.file.set(file);
    await this.look(file);
    this.send();
  }

  protected send(): void {
    const file = this.file();
    if (!file || this.sent() !== null) return;
    const form = new FormData();
    form.append('file', file, file.name);
    for (const name of ['version', 'notes', 'signature'] as const) {
      const value = this[name]().trim();
      if (value) form.append(name, value);
    }
    this.error.set(null);
    this.sent.set(0);
    this.sending = this.http
      .post<Omit<Uploaded, 'known'>>('/firmware/upload', form, { observe: 'events', reportProgress: true })
      .subscribe({
        next: (event) => {
          if (event.type === HttpEventType.UploadProgress) this.sent.set(event.loaded);
          if (event.type === HttpEventType.Response) this.done(event.body!, event.status === 200);
        },
        error: (error) => {
          this.sent.set(null);
          this.error.set(ApiError.of(error));
        },
      });
  }

  private done({ firmware, ignored }: Omit<Uploaded, 'known'>, known: boolean): void {
    this.sent.set(null);
    this.notes.set('');
    this.signature.set('');
    this.file.set(null);
    const said = ignored?.map(({ field, message }) => ({ field, message: message.replace(/^is ignored: /, '') }));
    this.result.set({ firmware, ignored: said ?? [], known });
    this.uploaded.emit(firmware);
  }

  protected cancel(): void {
    this.sending?.unsubscribe();
    this.sent.set(null);
  }
}
