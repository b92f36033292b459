// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package script

import (
	"maps"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// funcMap returns the functions that templates may call: those of sprig that are approved
// below, and the conversions that Sveltos adds. All of them give the same result for the
// same input, on every replica at any time, and read nothing but their input. What is
// left out of sprig, and why:
//
//   - env, expandenv, getHostByName read the server's surroundings, and the last tells
//     them to whoever runs a name server.
//   - now, ago, date and the like read the clock; randInt, shuffle, uuidv4, encryptAES,
//     bcrypt, htpasswd, the rand… and the gen… functions are random. A template that
//     called one would change with every rendering and be applied again each time.
//   - derivePassword and buildCustomCert make credentials.
//   - osBase and its kin follow the rules of the replica's file system; base, dir, clean,
//     ext and isAbs do not.
func funcMap() template.FuncMap {
	hermetic := sprig.HermeticTxtFuncMap()
	funcs := make(template.FuncMap, len(hermetic))
	for _, name := range approvedFuncs() {
		funcs[name] = hermetic[name]
	}
	maps.Copy(funcs, repeatableFuncs())
	maps.Copy(funcs, conversionFuncs())
	return funcs
}

// approvedFuncs names the functions that are taken from sprig as they are. It is a list
// of what is allowed, so that a new version of sprig adds nothing unseen.
func approvedFuncs() []string {
	return strings.Fields(`
		abbrev abbrevboth camelcase cat contains hasPrefix hasSuffix hello indent initials
		kebabcase lower nindent nospace plural quote repeat replace snakecase squote substr
		swapcase title toString toStrings trim trimAll trimPrefix trimSuffix trimall trunc
		untitle upper wrap wrapWith

		join sortAlpha split splitList splitn

		add add1 add1f addf atoi biggest ceil div divf float64 floor int int64 max maxf min
		minf mod mul mulf round seq sub subf toDecimal until untilStep

		all any coalesce compact deepCopy default empty fail mustCompact mustDeepCopy
		ternary

		append chunk concat first has initial last list mustAppend mustChunk mustFirst
		mustHas mustInitial mustLast mustPrepend mustPush mustRest mustReverse mustSlice
		mustUniq mustWithout prepend push rest reverse slice tuple uniq without

		dict dig get hasKey merge mergeOverwrite mustMerge mustMergeOverwrite omit pick
		pluck set unset

		deepEqual kindIs kindOf typeIs typeIsLike typeOf

		b32dec b32enc b64dec b64enc mustFromJson mustToJson mustToPrettyJson mustToRawJson
		toPrettyJson toRawJson

		adler32sum decryptAES sha1sum sha256sum sha512sum

		duration mustDateModify mustToDate must_date_modify toDate unixEpoch

		mustRegexFind mustRegexFindAll mustRegexMatch mustRegexReplaceAll
		mustRegexReplaceAllLiteral mustRegexSplit regexFind regexFindAll regexMatch
		regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit

		base clean dir ext isAbs semver semverCompare urlJoin urlParse
	`)
}
