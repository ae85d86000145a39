package fake

// errmsgs are WeChat's words for the codes that it answers by itself; a script may set others.
var errmsgs = map[int]string{
	-1:     "system error",
	40001:  "invalid credential, access_token is invalid or not latest",
	40002:  "invalid grant_type",
	40013:  "invalid appid",
	40014:  "invalid access_token",
	40097:  "invalid args",
	40125:  "invalid appsecret",
	40164:  "invalid ip not in whitelist",
	41001:  "access_token missing",
	41002:  "appid missing",
	41004:  "appsecret missing",
	42001:  "access_token expired",
	42007:  "access_token and refresh_token exception",
	43002:  "require POST method",
	44002:  "empty post data",
	45009:  "reach max api daily quota limit",
	45011:  "api minute-quota reach limit, must slower, retry next minute",
	47001:  "data format error",
	48001:  "api unauthorized",
	48004:  "api forbidden for irregularities",
	50002:  "user limited",
	61004:  "access clientip is not registered",
	76021:  "cgi_path not found, please check",
	150004: "delivery is not configured",
	932001: "waybill notify query: system error",
	932002: "waybill notify query: logic error",
	932003: "waybill notify query: abnormal waybill data",
}

func errmsg(code int) string {
	if m, ok := errmsgs[code]; ok {
		return m
	}
	return "error"
}
