// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/muster-project/muster/pkg/activewindow"
	"github.com/muster-project/muster/pkg/apis/lib"
)

func validateActiveWindow(window *lib.ActiveWindow, path *field.Path) field.ErrorList {
	if window == nil {
		return nil
	}
	var errs field.ErrorList
	errs = append(errs, validateCron(window.From, path.Child("from"))...)
	errs = append(errs, validateCron(window.To, path.Child("to"))...)
	if len(errs) == 0 && window.From == window.To {
		errs = append(errs, field.Invalid(path.Child("to"), excerpt(window.To), "the window would end as it begins"))
	}
	return errs
}

func validateCron(expression string, path *field.Path) field.ErrorList {
	if expression == "" {
		return field.ErrorList{field.Required(path, "a cron expression of minute, hour, day, month and day of the week, in UTC")}
	}
	if err := activewindow.Check(expression); err != nil {
		return field.ErrorList{field.Invalid(path, excerpt(expression), err.Error())}
	}
	return nil
}
