import { ChangeDetectionStrategy, Component } from '@angular/core';
import { PageHeader } from '../../ui/page-header';

@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [PageHeader],
  template: `<otad-header title="UsersPage" />`,
})
export class UsersPage {}
